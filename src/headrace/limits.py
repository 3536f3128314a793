"""Every limit stands here with its reason; over a limit is a clear error, never a crash."""

from typing import Final

#: A JSON value nested deeper is refused before any parser sees it: C parsers recurse on the stack.
MAX_JSON_DEPTH: Final = 128

#: One event. Event Hubs takes 1 MB; we leave room for documents, and refuse what would fill memory.
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024

#: One publish call, so that a block fits in memory several times over.
MAX_PUBLISH_BYTES: Final = 64 * 1024 * 1024

#: Events in one block of the hub; a block is the unit of compression and of reading.
MAX_BLOCK_EVENTS: Final = 10_000

#: Bytes of events in one block: what a reader must unpack at once. One event always fits.
MAX_BLOCK_BYTES: Final = MAX_EVENT_BYTES

#: A pack of events between two stages of a job holds one at least: its values and the names of its columns.
MAX_PACK_BYTES: Final = 2 * MAX_EVENT_BYTES

#: Partitions of a hub; Event Hubs ends at 32, its dedicated tier at 1,024. A publish reads a row of each.
MAX_PARTITIONS: Final = 256

#: A partition key; Event Hubs takes 128. A longer one is a body put in the wrong place.
MAX_KEY_CHARS: Final = 1_024

#: The user properties of one event, names and values: they are notes on the event, not its content.
MAX_PROPERTIES_BYTES: Final = 64 * 1024

#: A producer id: it is kept for ever, so that its last block is never stored twice.
MAX_PRODUCER_CHARS: Final = 512

#: Rows of a batch: larger ones were slower (400,000 rows against 100,000), smaller ones pay per call.
MAX_BATCH_ROWS: Final = 100_000

#: Rows that a join gives for one batch: past it keys or times match far too often, and memory runs out.
MAX_JOIN_ROWS: Final = 10_000_000

#: Bytes of a polled batch, so that large events cannot make a batch of unbounded memory.
MAX_BATCH_BYTES: Final = 32 * 1024 * 1024

#: Rows times columns of a batch, about 0.5 GB: a batch is dense, so keys that change with each event would
#: fill memory.
MAX_BATCH_CELLS: Final = 64_000_000

#: Keys of one event: each becomes a column, which costs about 10 microseconds and 1 KB however few its rows.
MAX_EVENT_KEYS: Final = 10_000

#: A query script; far above any real one, far below what makes a parser crawl.
MAX_SCRIPT_BYTES: Final = 256 * 1024

#: Nesting of expressions in a query: the parser recurses (3,000 parentheses overflow the stack).
MAX_QUERY_DEPTH: Final = 100

#: Nodes that binding a SELECT writes out again: BETWEEN and simple CASE repeat their operand, calls of models
#: the conditions that guard them. Nested, such copies grow without bound.
MAX_QUERY_NODES: Final = 50_000

#: Calls of models and functions in one SELECT: each adds a hidden column and its condition.
MAX_QUERY_CALLS: Final = 100

#: What a task keeps, as it is saved: SQLite holds no value above 1 GB.
MAX_STATE_BYTES: Final = 512 * 1024 * 1024

#: Events of an input that wait for others to come as far, and their bytes; above it only the slowest
#: partitions are read.
MAX_WAITING_ROWS: Final = 200_000
MAX_WAITING_BYTES: Final = 256 * 1024 * 1024

#: Places for events in a pattern of MATCH_RECOGNIZE, its repeats written out: each may hold a partial match.
MAX_PATTERN_EVENTS: Final = 1_000

#: Partial matches that a MATCH_RECOGNIZE may hold at a time, about 150 MB; past it patterns match too much.
MAX_OPEN_MATCHES: Final = 500_000

#: A message handed out this often without being finished is set aside as a dead letter.
MAX_DELIVERIES: Final = 5

#: Starts of a task without progress before its range is bisected for the event that kills it.
STARTS_WITHOUT_PROGRESS: Final = 3

#: Processes of one job on one machine: each takes memory and a place at the commit.
MAX_INSTANCES: Final = 64

#: A name of a hub, queue, table or job.
MAX_NAME_CHARS: Final = 64

#: A lease: as Azure's queues; a consumer that dies holds its messages back no longer than this.
MAX_VISIBILITY_TIMEOUT_S: Final = 7 * 24 * 3600

#: Messages whose lease or delay ran out that one claim brings back: it bounds the claim's transaction.
MAX_WOKEN_MESSAGES: Final = 10_000

#: Rows of one page of a read; between pages the namespace is free for writers.
MAX_PAGE_ROWS: Final = 1_000

#: Epochs of a task that stay on record: recovery needs the last, a person looking for a fault a few more.
EPOCHS_KEPT: Final = 16

#: A feed document, unpacked; arXiv's largest answers (2,000 papers) are about 5 MB.
MAX_FEED_BYTES: Final = 16 * 1024 * 1024

#: Entries of one feed document, so that what one poll finds is one publish call.
MAX_FEED_ENTRIES: Final = 10_000

#: Nesting of a feed document; real ones stay under 15.
MAX_FEED_DEPTH: Final = 100

#: Papers a feed remembers for its dedupe; a feed lists at most a few thousand at a time.
MAX_FEED_SEEN: Final = 50_000

#: Columns of an exported CSV or Parquet file: thousands of data-driven names make any reader crawl.
MAX_EXPORT_COLUMNS: Final = 2_000

#: A model's arrays and words, unpacked: a small file must not fill the memory of whoever opens it.
MAX_MODEL_BYTES: Final = 512 * 1024 * 1024

#: Texts of geofences whose shapes are kept, in memory several times as large: a thousand of 200 points.
MAX_KEPT_SHAPES_CHARS: Final = 4 * 1024 * 1024

#: A file that is one JSON array is held in memory whole while it is sent.
MAX_JSON_ARRAY_BYTES: Final = 512 * 1024 * 1024

#: How late an event may be, and how long its place in time is waited for: the service's bound.
MAX_LATE_DAYS: Final = 20

#: Hopping windows that one event is in: each is a row of its own, for each group (7 days in hops of 0.6 s).
MAX_WINDOWS_OF_EVENT: Final = 1_000_000

#: Rows of one request to a web address, and their bytes: what servers take unless told otherwise is 1 MB.
MAX_REQUEST_ROWS: Final = 10_000
MAX_REQUEST_BYTES: Final = 1_000_000

#: A file that a job reads: offsets have as many numbers for each file, and in 63 bits for 8 million files.
MAX_INPUT_FILE_BYTES: Final = 1 << 40

#: The first record of a CSV file: so many names are no header, but data of another kind.
MAX_CSV_HEADER_BYTES: Final = 256 * 1024

#: Files that an output of an instance collects rows for at a time, as each is held open; when more come, the
#: one that had no rows for longest is closed.
MAX_OPEN_OUTPUT_FILES: Final = 100

#: Files that the rows of one batch go to: each is synced, and a column with a value per row is a mistake.
MAX_OUTPUT_FILES_OF_BATCH: Final = 1_000

#: What a whole file of Avro or Parquet is made of at once, in megabytes.
MAX_WHOLE_FILE_MEGABYTES: Final = 1_024

#: What a compressed file may unpack to, as a multiple of its size: gzip ends at 1,032, logs stay below 100,
#: and only a bomb has more. A file may always unpack to so many bytes, however small it is.
MAX_UNPACKED_RATIO: Final = 500
UNPACKED_FREELY_BYTES: Final = 64 * 1024 * 1024

#: A block of an Avro file, unpacked, and its rows: writers make blocks of 16 KB to 4 MB, a reader holds one.
MAX_AVRO_BLOCK_BYTES: Final = 64 * 1024 * 1024
MAX_AVRO_BLOCK_ROWS: Final = 1_000_000

#: The days of the years 1 to 9999: no history is kept longer, and no stretch of one is.
CALENDAR_DAYS: Final = 3_652_059

#: The path of an input file within a tenant's folder: S3 ends at 1,024 bytes.
MAX_FILE_NAME_BYTES: Final = 1_024

#: A line of a sensor file; a point takes 70 bytes, and what is longer is data of another kind.
MAX_SENSOR_LINE_BYTES: Final = 64 * 1024

#: How much more than the default a tenant's weight may be, or less: shares so far apart mean a cap or a queue
#: of its own.
MAX_TENANT_WEIGHT: Final = 1_000
