-- The whole schema of namespace.db: everything that a job commits, in one file, so that one transaction holds it.
-- Rowid tables with a separate unique index throughout: clustering on random keys is several times slower.

-- Tables -------------------------------------------------------------------------------------------------

CREATE TABLE table_name (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE entity (
    id            INTEGER PRIMARY KEY,
    table_id      INTEGER NOT NULL,
    partition_key TEXT NOT NULL,
    row_key       TEXT NOT NULL,
    properties    TEXT NOT NULL  -- a JSON object
) STRICT;

CREATE UNIQUE INDEX entity_by_key ON entity (table_id, partition_key, row_key);

-- Queues -------------------------------------------------------------------------------------------------

-- The counters make the depth of a queue known without counting its messages.
CREATE TABLE queue (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    sent     INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0,
    dead     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Message ids are never used again, even after a queue ran empty: dead letters refer to them.
CREATE TABLE message_sequence (
    next_id INTEGER NOT NULL
) STRICT;

INSERT INTO message_sequence (next_id) VALUES (1);

-- A message that may be handed out has hidden_until_us NULL; a delayed one is hidden and has no receipt.
CREATE TABLE message (
    id              INTEGER PRIMARY KEY,
    queue_id        INTEGER NOT NULL,
    tenant          TEXT NOT NULL,
    priority        INTEGER NOT NULL,
    enqueued_us     INTEGER NOT NULL,
    hidden_until_us INTEGER,
    delivery_count  INTEGER NOT NULL DEFAULT 0,
    receipt         BLOB,  -- of the last claim
    owner           TEXT   -- who made the last claim
) STRICT;

CREATE INDEX message_ready ON message (queue_id, priority DESC, id) WHERE hidden_until_us IS NULL;
CREATE INDEX message_hidden ON message (queue_id, hidden_until_us) WHERE hidden_until_us IS NOT NULL;

-- Bodies stand apart so that claiming, renewing and releasing never rewrite them.
CREATE TABLE message_body (
    id   INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Dead letters -------------------------------------------------------------------------------------------

CREATE TABLE dead_letter (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    job          TEXT NOT NULL,
    source_kind  TEXT NOT NULL,
    source       TEXT NOT NULL,
    partition    INTEGER NOT NULL,
    position     INTEGER NOT NULL,  -- an offset, or the id of a message
    reason       TEXT NOT NULL,
    detail       TEXT NOT NULL,
    attempts     INTEGER NOT NULL,
    first_us     INTEGER NOT NULL,
    dead_us      INTEGER NOT NULL,
    body         BLOB NOT NULL  -- last, so that looking for a reason does not read through it
) STRICT;

CREATE UNIQUE INDEX dead_letter_by_origin ON dead_letter (job, source_kind, source, partition, position);

-- What a job commits beside its outputs ------------------------------------------------------------------

CREATE TABLE task (
    job         TEXT NOT NULL,
    task        TEXT NOT NULL,
    fence       INTEGER NOT NULL,            -- grows with every acquisition
    owner       TEXT NOT NULL,
    acquired_us INTEGER NOT NULL,
    starts      INTEGER NOT NULL DEFAULT 0,  -- since the last epoch
    probe_low   INTEGER,                     -- the range in which an event that kills is looked for
    probe_high  INTEGER,
    PRIMARY KEY (job, task)
) STRICT;

CREATE TABLE epoch (
    job          TEXT NOT NULL,
    task         TEXT NOT NULL,
    number       INTEGER NOT NULL,
    ranges       TEXT NOT NULL,  -- JSON: what was read of each input
    watermark_us INTEGER,
    committed_us INTEGER NOT NULL,
    PRIMARY KEY (job, task, number)
) STRICT;

CREATE TABLE position (
    job         TEXT NOT NULL,
    task        TEXT NOT NULL,
    input       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (job, task, input, partition)
) STRICT;

-- Blocks for outputs outside the namespace, in lines that each have one owner.
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY,
    job      TEXT NOT NULL,
    line     TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    output   TEXT NOT NULL,
    block    BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX outbox_in_order ON outbox (job, line, sequence);

-- The last sequence of each line, which outlives its blocks: a target drops what is not above it.
CREATE TABLE outbox_line (
    job           TEXT NOT NULL,
    line          TEXT NOT NULL,
    last_sequence INTEGER NOT NULL,
    PRIMARY KEY (job, line)
) STRICT;

CREATE TABLE job_count (
    job   TEXT NOT NULL,
    name  TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (job, name)
) STRICT;

-- Who runs -----------------------------------------------------------------------------------------------

CREATE TABLE instance (
    job          TEXT NOT NULL,
    instance     TEXT NOT NULL,
    pid          INTEGER NOT NULL,
    started_us   INTEGER NOT NULL,
    heartbeat_us INTEGER NOT NULL,
    counters     TEXT NOT NULL,  -- a JSON object of numbers
    PRIMARY KEY (job, instance)
) STRICT;

CREATE TABLE stop_request (
    job  TEXT PRIMARY KEY,
    mode TEXT NOT NULL
) STRICT;
