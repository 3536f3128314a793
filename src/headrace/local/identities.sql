-- Format 5 of namespace.db: a position says what it was taken in.

-- Empty: nobody said, as before this format. Else offsets mean nothing in what has another identity.
ALTER TABLE position ADD COLUMN identity TEXT NOT NULL DEFAULT '';
