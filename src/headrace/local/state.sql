-- Format 2 of namespace.db: what jobs with windows, joins or patterns keep of the events that they have read.

-- The state of a task in parts, each replaced whole by the commits that change it.
CREATE TABLE task_state (
    job     TEXT NOT NULL,
    task    TEXT NOT NULL,
    part    TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (job, task, part)
) STRICT;
