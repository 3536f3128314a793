-- Format 3 of namespace.db: state is saved now and then, and rebuilt from there by the epochs behind it.

-- The last epoch that the saved state knows of; those behind it are on record until a later state is saved.
ALTER TABLE task_state ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;

UPDATE task_state SET epoch = coalesce(
    (SELECT max(number) FROM epoch WHERE epoch.job = task_state.job AND epoch.task = task_state.task), 0
);

-- What models and functions answered in an epoch, where later state depends on it.
ALTER TABLE epoch ADD COLUMN answers BLOB;

-- How much of a file that an instance writes is committed; what stands behind is swept.
CREATE TABLE staged_file (
    job        TEXT NOT NULL,
    line       TEXT NOT NULL,
    output     TEXT NOT NULL,
    path       TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (job, line, output)
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
