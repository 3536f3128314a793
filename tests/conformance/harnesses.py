"""The harnesses of the connectors that come with Headrace."""

import contextlib
import gzip
import io
import json
import threading
from pathlib import Path

import apsw
import msgspec
import polars as pl

from headrace.clock import ManualClock
from headrace.connect.callable import CallableSink
from headrace.connect.console import ConsoleSink
from headrace.connect.exchange import EXCHANGE, ExchangeSource, content_of, open_exchange, pack
from headrace.connect.file_output import FileSink
from headrace.connect.file_output_settings import FileOutputSettings, open_file_sink
from headrace.connect.files import FileSettings, FileSource
from headrace.connect.hub import HubSink, HubSource
from headrace.connect.postgresql import PostgresqlSettings, postgresql_sink
from headrace.connect.queue import QueueSink, QueueSource
from headrace.connect.sqlite import SqliteSettings, sqlite_sink
from headrace.connect.table import TableSettings, TableSink
from headrace.connect.topic import Subscription, Topic, TopicSink
from headrace.connect.webhook import WebhookSettings, WebhookSink
from headrace.errors import DataError
from headrace.events.formats.decoders import decoder_of
from headrace.events.formats.json import rows
from headrace.local.dead_letters import DeadLetters
from headrace.local.hub import Hub
from headrace.local.input_files import InputFiles
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.local.staged import StagedFile
from headrace.local.table import Table
from headrace.testing.conformance import CommitHarness, CompetingHarness, OrderedHarness, RemoteHarness
from headrace.testing.webhook_target import WebhookTarget, taken

#: More than an event may hold.
TOO_LARGE = {"n": 1, "text": "x" * (8 * 1024 * 1024)}


def json_bodies(events):
    return [json.dumps(event, ensure_ascii=False).encode() for event in events]


# --- sources --------------------------------------------------------------------------------------------


class HubIn(OrderedHarness):
    raw = (b"", b"no JSON", b'{"n":\n1}', b"\xff\xfe", b" ", b"[]")

    def __init__(self, folder):
        self.folder, self.clock = folder, ManualClock()
        self.hub = Hub.create(folder, "events", partitions=3, clock=self.clock)

    def open(self):
        return HubSource("events", Hub.open(self.folder, "events", clock=self.clock))

    def publish(self, partition, events):
        self.publish_raw(partition, json_bodies(events))

    def publish_raw(self, partition, bodies):
        self.hub.publish_bodies(bodies, partition=partition)

    def close(self):
        self.hub.close()


class ExchangeIn(OrderedHarness):
    """The packs between two stages of a job: each holds the events that were published together."""

    starts_at_times = False
    counts_bytes = False

    def __init__(self, folder):
        self.folder, self.clock = folder, ManualClock()
        self.hub = open_exchange(folder, EXCHANGE, 2)

    def open(self):
        hub = open_exchange(self.folder, EXCHANGE, 2)
        return ExchangeSource("events", hub, places=1, rule="n", ends=False)

    def publish(self, partition, events):
        body = pack(len(events), msgspec.json.encode([event["n"] for event in events]))
        self.hub.publish_bodies([body], partition=partition)

    def numbers(self, poll):
        numbers = [number for body in poll.bodies for number in msgspec.json.decode(content_of(body))]
        return numbers[poll.skipped : poll.skipped + poll.events]

    def close(self):
        self.hub.close()


class FilesIn(OrderedHarness):
    """Files of JSON lines; events are appended to the last one, and now and then to a new one."""

    raw = (b"no JSON", b"\xff\xfe", b'{"n":', b"[]")
    settings = FileSettings(path="in/*.jsonl")
    per_file = 2

    def __init__(self, folder):
        self.folder, self.clock = folder, ManualClock()
        (folder / "in").mkdir()
        self.namespace = Namespace.open(folder / "data", clock=self.clock)
        self.published = 0

    def open(self):
        record = InputFiles(self.namespace, "job", "events")
        return FileSource("events", self.settings, self.folder, record, clock=self.clock)

    def publish(self, partition, events):
        self.publish_raw(partition, json_bodies(events))

    def publish_raw(self, partition, bodies):
        self._append("jsonl", b"".join(body + b"\n" for body in bodies))

    def _append(self, ending, content, header=b""):
        with (self.folder / f"in/{self.published // self.per_file:03}.{ending}").open("ab") as file:
            file.write(content if file.tell() else header + content)
        self.published += 1
        self.clock.sleep(60)  # names are looked for now and then

    def close(self):
        self.namespace.close()


class CsvIn(FilesIn):
    """Files of CSV, each with the same header."""

    settings = FileSettings(path="in/*.csv")
    raw = ()

    def publish(self, partition, events):
        lines = [f'{event["n"]},"{event["text"].replace(chr(34), chr(34) * 2)}"\n' for event in events]
        self._append("csv", "".join(lines).encode(), header=b"n,text\n")


class GzipIn(FilesIn):
    """Files of JSON lines, each packed whole."""

    settings = FileSettings(path="in/*.jsonl.gz")
    raw = ()
    per_file = 1

    def publish(self, partition, events):
        self._append("jsonl.gz", gzip.compress(b"".join(body + b"\n" for body in json_bodies(events))))


class ParquetIn(FilesIn):
    """Files of Parquet, whose rows come with their types; a body is what a row is as JSON."""

    settings = FileSettings(path="in/*.parquet")
    raw = ()
    per_file = 1
    counts_bytes = False

    def publish(self, partition, events):
        file = io.BytesIO()
        pl.DataFrame(events).write_parquet(file)
        self._append("parquet", file.getvalue())


class AvroIn(FilesIn):
    settings = FileSettings(path="in/*.avro")
    raw = ()
    per_file = 1
    counts_bytes = False

    def publish(self, partition, events):
        file = io.BytesIO()
        pl.DataFrame(events).write_avro(file)
        self._append("avro", file.getvalue())


class QueueIn(CompetingHarness):
    max_deliveries = 3

    def __init__(self, folder):
        self.clock = ManualClock()
        self.namespace = Namespace.open(folder, clock=self.clock)

    def _queue(self):
        return Queue(self.namespace, "work", visibility_timeout_s=30, max_deliveries=self.max_deliveries)

    def open(self, owner):
        return QueueSource("work", self._queue(), owner)

    def publish(self, events):
        with self.namespace.transaction() as tx:
            self._queue().send(tx, json_bodies(events))

    def commit(self):
        return self.namespace.transaction()

    def set_aside(self):
        return [json.loads(letter.body)["n"] for letter in DeadLetters(self.namespace).find(limit=100)]

    def close(self):
        self.namespace.close()


# --- sinks ----------------------------------------------------------------------------------------------


class _InNamespace:
    """What harnesses of sinks that write within the commit share."""

    def __init__(self, folder):
        self.folder, self.clock = folder, ManualClock()
        self.namespace = Namespace.open(folder / "data", clock=self.clock)

    def commit(self):
        return self.namespace.transaction()

    def close(self):
        self.namespace.close()


class QueueOut(_InNamespace, CommitHarness):
    refused = TOO_LARGE

    def open(self):
        return QueueSink(Queue(self.namespace, "rows"))

    def read(self):
        with self.namespace.reading() as connection:
            return [
                json.loads(body)
                for (body,) in connection.execute("SELECT body FROM message_body ORDER BY id")
            ]


#: What the header of a CSV file is made of, which the query would know.
COLUMNS = {"rows.csv": ("n", "flag", "whole", "real", "text", "moment", "record", "list", "mixed")}

#: Without the key of its row.
KEYLESS = {"n": None}


class TableOut(_InNamespace, CommitHarness):
    keeps_order = False
    refused = KEYLESS

    def open(self):
        return TableSink(Table(self.namespace, "rows"), TableSettings(row_key="n"))

    def read(self):
        entities = Table(self.namespace, "rows").read()
        return [json.loads(entity.properties) | {"n": int(entity.row_key)} for entity in entities]


class HubOut(RemoteHarness):
    refused = TOO_LARGE

    def __init__(self, folder):
        self.folder, self.clock = folder, ManualClock()
        self.hub = Hub.create(folder, "rows", partitions=1, clock=self.clock)

    def open(self):
        return HubSink(Hub.open(self.folder, "rows", clock=self.clock))

    def read(self):
        bodies, offset = [], 0
        while found := self.hub.read(0, offset, max_events=10_000, max_bytes=1 << 24).bodies:
            bodies += found
            offset += len(found)
        return [json.loads(body) for body in bodies]

    def close(self):
        self.hub.close()


class FileOut(_InNamespace, CommitHarness):
    def open(self):
        return FileSink(StagedFile(self.namespace, "job", "instance-0", "rows"), self.folder, "rows.jsonl")

    def read(self):
        return [json.loads(line) for line in (self.folder / "rows.jsonl").read_bytes().splitlines()]


class FilesOut(_InNamespace, CommitHarness):
    """Files by the settings of an output, read by an input; the ending of `path` says the format."""

    path = "rows.csv"

    def open(self):
        settings = FileOutputSettings(path=self.path)
        where = {"job": "job", "output": "rows", "instance": 0, "line": "instance-0"}
        return open_file_sink(self.namespace, self.folder, settings, COLUMNS.get(self.path), **where)

    def read(self):
        settings = FileSettings(path=f"rows*{''.join(Path(self.path).suffixes)}")
        record = InputFiles(self.namespace, "reading", "rows")
        found, offset = [], 0
        with contextlib.closing(
            FileSource("rows", settings, self.folder, record, clock=self.clock)
        ) as source:
            source.end(0)
            while poll := source.poll(0, offset, 10_000, 1 << 26):
                decoded = poll.decoded or decoder_of(poll.format, poll.header).decode(
                    poll.bodies, poll.joined
                )
                found += rows(decoded.batch)
                offset = poll.next_offset
        return found


class PackedOut(FilesOut):
    path = "rows.jsonl.gz"


class TypedFilesOut(FilesOut):
    """A column has one type: what is nested is JSON, and values of several types are text."""

    path = "rows.parquet"

    def read(self):
        return [{column: _unnested(column, value) for column, value in row.items()} for row in super().read()]

    def expected(self, column, value):
        return as_text(value) if column == "mixed" else value


class AvroOut(TypedFilesOut):
    """A column may have several types, but what is nested is JSON."""

    path = "rows.avro"

    def expected(self, column, value):
        return value


class CsvOut(FilesOut):
    """CSV has no types: all is text, and what is nested is JSON."""

    def read(self):
        return [
            {c: v if v is None or c in {"text", "moment", "mixed"} else json.loads(v) for c, v in row.items()}
            for row in super().read()
        ]

    def expected(self, column, value):
        return as_text(value) if column == "mixed" else value


def as_text(value):
    """A value of a column of several types, where a target has one type for them: text."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _unnested(column, value):
    return json.loads(value) if column in {"record", "list"} and value is not None else value


class SqliteOut(RemoteHarness):
    """Booleans are 0 and 1, what is nested is JSON, and values of several types are text."""

    def __init__(self, folder):
        self.folder, self.clock = folder, ManualClock()

    def open(self):
        return sqlite_sink("rows", SqliteSettings(path="rows.db"), self.folder, "project")

    def read(self):
        if not (self.folder / "rows.db").exists():
            return []
        with contextlib.closing(apsw.Connection(str(self.folder / "rows.db"))) as connection:
            found = connection.execute("SELECT * FROM rows")
            names = [name for name, *_ in found.getdescription()]
            return [{c: _unnested(c, v) for c, v in zip(names, row, strict=True)} for row in found]

    def expected(self, column, value):
        value = int(value) if isinstance(value, bool) else value
        return as_text(value) if column == "mixed" else value

    def close(self):
        pass


class PostgresqlOut(RemoteHarness):
    """Values of several types are text."""

    def __init__(self, url):
        self.url, self.clock = url, ManualClock()

    def open(self):
        return postgresql_sink("rows", PostgresqlSettings(url=self.url), "project")

    def read(self):
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            if connection.execute("SELECT to_regclass('rows') AS rows").fetchone()["rows"] is None:
                return []
            # Python's datetimes end in the year 9999 of the zone that the session has.
            connection.execute("SET TIME ZONE 'UTC'")
            return connection.execute("SELECT * FROM rows").fetchall()

    def expected(self, column, value):
        return as_text(value) if column == "mixed" else value

    def close(self):
        pass


class PythonOut(RemoteHarness):
    """A function that keeps delivery ids, as one must that is not to do things twice."""

    breaks = True

    def __init__(self, folder):
        self.clock, self.taken, self.mood = ManualClock(), {}, "well"

    def open(self):
        return CallableSink("rows", self._take, "project")

    def _take(self, rows, *, delivery_id):
        if self.mood == "gone":
            raise ConnectionError("nobody answers")
        if self.mood == "refused":
            raise DataError("never")
        self.taken.setdefault(delivery_id, rows)
        if self.mood == "lost":
            raise ConnectionError("no answer came")

    def read(self):
        return [row for rows in self.taken.values() for row in rows]

    def cut(self):
        self.mood = "gone"

    def lose_answers(self):
        self.mood = "lost"

    def refuse(self):
        self.mood = "refused"

    def heal(self):
        self.mood = "well"

    def close(self):
        pass


class TopicOut(QueueOut):
    """One subscription of a topic, beside one whose filter takes nothing."""

    def open(self):
        taken = [Subscription("all"), Subscription("none", {"n": "no number"})]
        return TopicSink(Topic(self.namespace, "rows", taken))


class ConsoleOut(RemoteHarness):
    """Standard output, which takes what is printed twice twice."""

    once = False

    def __init__(self, capsysbinary):
        self.clock, self._captured, self._printed = ManualClock(), capsysbinary, b""

    def open(self):
        return ConsoleSink()

    def read(self):
        self._printed += self._captured.readouterr().out
        return [json.loads(line) for line in self._printed.splitlines()]

    def close(self):
        pass


class WebhookOut(RemoteHarness):
    breaks = True

    def __init__(self, folder):
        self.folder, self.clock = folder, ManualClock()
        self.target = WebhookTarget(folder)
        self.thread = threading.Thread(target=self.target.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def open(self):
        return WebhookSink("rows", WebhookSettings(url=self.target.url), "project", clock=self.clock)

    def read(self):
        return taken(self.folder)

    def cut(self):
        self.target.mood = lambda: "gone"

    def lose_answers(self):
        self.target.mood = lambda: "lost"

    def refuse(self):
        self.target.mood = lambda: "refused"

    def heal(self):
        self.target.mood = lambda: "well"

    def close(self):
        self.target.shutdown()
        self.thread.join()
        self.target.server_close()
