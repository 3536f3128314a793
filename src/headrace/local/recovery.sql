-- Format 3 of namespace.db: state is saved now and then, and rebuilt from there by the epochs behind it.

-- The last epoch that the saved state knows of; those behind it are on record until a later state is saved.
ALTER TABLE task_state ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;

UPDATE task_state SET epoch = coalesce(
    (SELECT max(number) FROM epoch WHERE epoch.job = task_state.job AND epoch.task = task_state.task), 0
);

-- What models and functions answered in an epoch, where later state depends on it.
ALTER TABLE epoch ADD COLUMN answers BLOB;

-- How many events were read when a task last died: offsets of files are bytes.
ALTER TABLE task ADD COLUMN probe_events INTEGER;
ALTER TABLE task DROP COLUMN probe_high;
UPDATE task SET probe_low = NULL;

-- How much of a file that an instance writes is committed; what stands behind is swept.
CREATE TABLE staged_file (
    job        TEXT NOT NULL,
    line       TEXT NOT NULL,
    output     TEXT NOT NULL,
    path       TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (job, line, output)
) STRICT;

CREATE UNIQUE INDEX staged_file_by_path ON staged_file (path);

-- The files that an input of a job has begun to read, in the order in which they are one sequence.
CREATE TABLE input_file (
    job        TEXT NOT NULL,
    input      TEXT NOT NULL,
    number     INTEGER NOT NULL,
    name       TEXT NOT NULL,
    head       BLOB NOT NULL,     -- its first bytes, by which it is known again
    size_bytes INTEGER NOT NULL,  -- where it ends, once a later file was begun; its size when it was begun itself
    cuts       TEXT NOT NULL,     -- a JSON array: where a line was taken that no newline ended
    PRIMARY KEY (job, input, number)
) STRICT;

-- The time at which the output of a job begins: what comes of earlier events only fills its windows.
CREATE TABLE job_start (
    job     TEXT PRIMARY KEY,
    from_us INTEGER NOT NULL
) STRICT;

-- How many instances a job has been asked to run as.
CREATE TABLE job_scale (
    job       TEXT PRIMARY KEY,
    instances INTEGER NOT NULL
) STRICT;
