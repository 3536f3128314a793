"""The harnesses of the connectors that come with Headrace."""

import json
import threading

import msgspec

from headrace.clock import ManualClock
from headrace.connect.console import ConsoleSink
from headrace.connect.exchange import EXCHANGE, ExchangeSource, content_of, open_exchange, pack
from headrace.connect.file_output import FileSink
from headrace.connect.files import FileSettings, FileSource
from headrace.connect.hub import HubSink, HubSource
from headrace.connect.queue import QueueSink, QueueSource
from headrace.connect.table import TableSettings, TableSink
from headrace.connect.webhook import WebhookSettings, WebhookSink
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
        with (self.folder / f"in/{self.published // self.per_file:03}.jsonl").open("ab") as file:
            file.writelines(body + b"\n" for body in bodies)
        self.published += 1
        self.clock.sleep(60)  # names are looked for now and then

    def close(self):
        self.namespace.close()


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
        return WebhookSink("rows", WebhookSettings(url=self.target.url), clock=self.clock)

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
