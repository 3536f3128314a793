-- Format 4 of namespace.db: what an instance is doing, for those who look.

-- A JSON object: a state, since when, and a sentence that says more.
ALTER TABLE instance ADD COLUMN condition TEXT NOT NULL DEFAULT '{"state":"running","since_us":0}';
