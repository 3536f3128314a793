-- Format 4 of namespace.db: what an instance is doing, for those who look.

-- A JSON object: a state, since when, and a sentence that says more.
ALTER TABLE instance ADD COLUMN condition TEXT NOT NULL DEFAULT '{"state":"running","since_us":0}';

-- A JSON array: the columns of a CSV file that an instance appends to, NULL until it has rows.
ALTER TABLE staged_file ADD COLUMN columns TEXT;

-- Outputs whose files appear whole, of each line of a job: where, and how many files were begun.
CREATE TABLE whole_files (
    job     TEXT NOT NULL,
    line    TEXT NOT NULL,
    output  TEXT NOT NULL,
    path    TEXT NOT NULL,     -- with its placeholders
    begun   INTEGER NOT NULL,
    columns TEXT,              -- a JSON array: the columns of CSV files, where the first rows say which
    PRIMARY KEY (job, line, output)
) STRICT;

CREATE UNIQUE INDEX whole_files_by_path ON whole_files (path);

-- Rows that wait, in a part file of the namespace, for the file that is made of them to be whole.
CREATE TABLE file_part (
    job        TEXT NOT NULL,
    line       TEXT NOT NULL,
    output     TEXT NOT NULL,
    number     INTEGER NOT NULL,  -- of the file, from 1
    place      TEXT NOT NULL,     -- the path with placeholders filled in: rows of one place go to one part
    path       TEXT NOT NULL,     -- of the file
    name       TEXT NOT NULL,     -- of the part file
    making     TEXT NOT NULL,     -- a JSON object: how the file is made of the part
    size_bytes INTEGER NOT NULL,  -- of the part that count
    rows       INTEGER NOT NULL,
    begun_us   INTEGER NOT NULL,
    written_us INTEGER NOT NULL,
    closed     INTEGER NOT NULL,  -- 1: takes no more rows, and the file is to be made
    PRIMARY KEY (job, line, output, number)
) STRICT;

-- Tells this namespace from others whose jobs have the same names, for targets that keep sequences.
CREATE TABLE namespace_identity (
    identity TEXT NOT NULL
) STRICT;

INSERT INTO namespace_identity (identity) SELECT lower(hex(randomblob(8)));

-- How much of what an instance last read of an input was bad: of the count that goes on, and the one before.
CREATE TABLE recent_input (
    job            TEXT NOT NULL,
    line           TEXT NOT NULL,
    input          TEXT NOT NULL,
    events         INTEGER NOT NULL,
    bad            INTEGER NOT NULL,
    earlier_events INTEGER NOT NULL,
    earlier_bad    INTEGER NOT NULL,
    PRIMARY KEY (job, line, input)
) STRICT;

-- The versions of reference data that a job has noticed, in that order; epochs say how many they knew.
CREATE TABLE reference_version (
    job      TEXT NOT NULL,
    input    TEXT NOT NULL,
    number   INTEGER NOT NULL,
    start_us INTEGER,             -- the time from which it is valid; NULL: for whatever is read from then on
    name     TEXT NOT NULL,       -- of the file
    seen     TEXT NOT NULL,       -- what the file was like, by which a change is noticed
    hash     TEXT NOT NULL,       -- of its content
    PRIMARY KEY (job, input, number)
) STRICT;

-- The rows of these versions, for as long as one has them.
CREATE TABLE reference_content (
    hash    TEXT PRIMARY KEY,
    content BLOB NOT NULL
) STRICT;
