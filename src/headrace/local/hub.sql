-- One hub: a log in partitions. Written only in append order, so the keys' trees grow at their ends.
CREATE TABLE settings (
    name TEXT NOT NULL,
    identity TEXT NOT NULL,          -- tells this hub from one made later under its name
    partitions INTEGER NOT NULL,
    retention_us INTEGER,            -- NULL: events are kept for ever
    created_us INTEGER NOT NULL
) STRICT;

CREATE TABLE partition (
    id INTEGER PRIMARY KEY,
    begin INTEGER NOT NULL,          -- offset of the oldest event that may be read
    next INTEGER NOT NULL,           -- offset that the next event will get
    enqueued_us INTEGER NOT NULL     -- of the last event: the next is never earlier
) STRICT;

-- A block of events of one partition; `blocks.py` says what its parts hold.
CREATE TABLE block (
    partition INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    events INTEGER NOT NULL,
    enqueued_us INTEGER NOT NULL,    -- of its last event, and of all when `times` is NULL
    times BLOB,
    size_bytes INTEGER NOT NULL,     -- of the payload before compression
    columns BLOB,
    payload BLOB NOT NULL,
    checksum INTEGER NOT NULL,       -- over everything above
    PRIMARY KEY (partition, first_offset)
) STRICT;

-- The last block of each producer, so that a block sent again is known.
CREATE TABLE producer (
    id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
