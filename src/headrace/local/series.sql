-- Histories of tags: what stands in the segments of a store, which are files beside this database.

CREATE TABLE series_tenant (
    id    INTEGER PRIMARY KEY,
    store TEXT NOT NULL,
    name  TEXT NOT NULL,
    tags  INTEGER NOT NULL DEFAULT 0  -- how many there are, numbered from 0
) STRICT;

CREATE UNIQUE INDEX series_tenant_by_name ON series_tenant (store, name);

CREATE TABLE series_tag (
    tenant_id INTEGER NOT NULL,
    code      INTEGER NOT NULL,
    guid      BLOB NOT NULL,
    PRIMARY KEY (tenant_id, code)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX series_tag_by_guid ON series_tag (tenant_id, guid);

CREATE TABLE series_segment (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id  INTEGER NOT NULL,
    newest     INTEGER NOT NULL,  -- orders segments: of two points of one tag and time the newer segment's counts
    name       TEXT NOT NULL,     -- of the file
    level      INTEGER NOT NULL,  -- how often its points were compacted
    points     INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    first_us   INTEGER NOT NULL,
    last_us    INTEGER NOT NULL,
    blocks     BLOB NOT NULL      -- what each row group of the file holds
) STRICT;

CREATE UNIQUE INDEX series_segment_by_name ON series_segment (tenant_id, name);
CREATE INDEX series_segment_by_time ON series_segment (tenant_id, last_us);

-- Files that no segment names any more and that are to be removed, also if who removes them dies.
CREATE TABLE series_gone (
    tenant_id INTEGER NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- Who writes files of a store: by it the files of one that is no more are found.
CREATE TABLE series_line (
    job      TEXT NOT NULL,
    instance TEXT NOT NULL,
    line     TEXT NOT NULL,
    store    TEXT NOT NULL,
    folder   TEXT NOT NULL,
    PRIMARY KEY (job, instance, line, store)
) STRICT;

-- What became of each input file of late, and when, in microseconds since 1970: its message taken, reading,
-- parsing and writing begun and ended, its message deleted.
CREATE TABLE series_progress (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    job        TEXT NOT NULL,
    line       TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    file       TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    points     INTEGER NOT NULL,
    bad        INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    t1_us      INTEGER NOT NULL,
    t2_us      INTEGER NOT NULL,
    t3_us      INTEGER NOT NULL,
    t4_us      INTEGER NOT NULL,
    t5_us      INTEGER NOT NULL,
    t6_us      INTEGER NOT NULL,
    t7_us      INTEGER NOT NULL,
    t8_us      INTEGER NOT NULL
) STRICT;

CREATE INDEX series_progress_by_job ON series_progress (job, id);

-- Fair shares of queues ----------------------------------------------------------------------------------

-- Queues whose claims take turns by tenant. Starts are finish tags as they were when served last.
CREATE TABLE fair_queue (
    queue_id     INTEGER PRIMARY KEY,
    urgent_turns INTEGER NOT NULL DEFAULT 0,  -- of the urgent class in a row
    urgent_start REAL NOT NULL DEFAULT 0,
    normal_start REAL NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE queue_tenant (
    id            INTEGER PRIMARY KEY,
    queue_id      INTEGER NOT NULL,
    name          TEXT NOT NULL,
    weight        REAL NOT NULL DEFAULT 1,
    urgent        INTEGER NOT NULL DEFAULT 0,
    max_in_flight INTEGER,                     -- NULL: any number
    finish        REAL NOT NULL DEFAULT 0,     -- the finish tag: cost / weight of all that it was handed
    ready         INTEGER NOT NULL DEFAULT 0,  -- messages that may be handed out
    in_flight     INTEGER NOT NULL DEFAULT 0   -- messages that are leased
) STRICT;

CREATE UNIQUE INDEX queue_tenant_by_name ON queue_tenant (queue_id, name);
CREATE INDEX queue_tenant_next ON queue_tenant (queue_id, urgent, finish)
    WHERE ready > 0 AND (max_in_flight IS NULL OR in_flight < max_in_flight);

ALTER TABLE message ADD COLUMN tenant_id INTEGER;                   -- NULL where the queue has no tenants
ALTER TABLE message ADD COLUMN cost INTEGER NOT NULL DEFAULT 1;     -- what its first delivery is charged
ALTER TABLE message ADD COLUMN charged INTEGER NOT NULL DEFAULT 0;  -- 1 once it was

-- Each message that may be handed out is in one of them.
DROP INDEX message_ready;
CREATE INDEX message_ready ON message (queue_id, priority DESC, id)
    WHERE hidden_until_us IS NULL AND tenant_id IS NULL;
CREATE INDEX message_ready_of_tenant ON message (tenant_id, priority DESC, id)
    WHERE hidden_until_us IS NULL AND tenant_id IS NOT NULL;

-- Whose dead letters are, so that nobody is shown another's, and what a retry costs: 0: by its body.
ALTER TABLE dead_letter ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letter ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;

-- Files of datasets that were listed into a work queue, as they were then.
CREATE TABLE series_enqueued (
    queue      TEXT NOT NULL,
    store      TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    file       TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    changed    TEXT NOT NULL,
    PRIMARY KEY (queue, store, tenant, file)
) STRICT, WITHOUT ROWID;

-- Tags of which points were left out on purpose, and how far what is left may be from them.
CREATE TABLE series_compression (
    tenant_id INTEGER NOT NULL,
    code      INTEGER NOT NULL,
    method    TEXT NOT NULL,     -- deadband: between points the earlier value holds; swinging-door: a line
    bound     REAL NOT NULL,     -- that no error is above, in the unit of the values
    largest   REAL NOT NULL,     -- error of all points that came
    points    INTEGER NOT NULL,  -- that came
    kept      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, code, method, bound)
) STRICT, WITHOUT ROWID;
