"""For benchmarks: a project in a folder, `headrace run` as a process, and a reader of its table here."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress

JOB = "work"
HUB, TABLE = "events", "seen"
PARTITIONS = 4

#: A query without state, and one with it whose rows come with each event.
STATELESS = f"SELECT id, at, value * 2 AS twice INTO {TABLE} FROM {HUB} WHERE value > 0"
STATEFUL = (
    f"SELECT id, at, LAG(value) OVER (PARTITION BY key LIMIT DURATION(second, 10)) AS before "
    f"INTO {TABLE} FROM {HUB}"
)

_ROWS = "SELECT id, row_key, properties FROM entity WHERE id > ? ORDER BY id"


class Pipeline:
    """A hub, one query and a table in `folder`, none of them in use yet."""

    def __init__(self, folder: Path, sql: str) -> None:
        self.folder = folder
        self.data = folder / ".headrace"
        (folder / "query.sql").write_text(sql, "utf-8")
        (folder / "headrace.toml").write_text(
            f'inputs.{HUB} = {{ kind = "hub" }}\n'
            f'outputs.{TABLE} = {{ kind = "table", row_key = "id" }}\n'
            f'jobs.{JOB} = {{ query = "query.sql" }}\n',
            "utf-8",
        )
        Hub.create(self.hubs, HUB, partitions=PARTITIONS).close()
        Namespace.open(self.data).close()

    @property
    def hubs(self) -> Path:
        """Where the hub's file is."""
        return self.data / "hubs"

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the job as a user would; it is asked to end when the block does."""
        command = [sys.executable, "-m", "headrace.cli", "run", JOB, "--project", str(self.folder)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
            if process.returncode != 0:
                sys.stderr.buffer.write(said)

    def counters(self) -> dict[str, float]:
        """What the one instance last reported, twice a second."""
        with Namespace.open(self.data) as namespace:
            return Progress(namespace).instances(JOB)[0].counters


class Reader:
    """Another process's view of the table: what has come since it last looked, without SQL while nothing has.

    It uses SQLite alone, so that nothing of the engine is measured with it.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        path = str(pipeline.data / "namespace.db")
        self._connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        self._version: int | None = None
        self._last = 0

    def rows(self) -> list[tuple[str, str]]:
        """Return keys and properties of the rows that are new, at once."""
        version = self._connection.pragma("data_version")
        if version == self._version:
            return []
        self._version = version
        found = self._connection.execute(_ROWS, (self._last,)).fetchall()
        if found:
            self._last = found[-1][0]
        return [(key, properties) for _, key, properties in found]

    def wait(self, process: subprocess.Popen[bytes], pause_s: float) -> list[tuple[str, str]]:
        """Return the next rows, looking every `pause_s`; the benchmark ends if the job does before."""
        while not (rows := self.rows()):
            if process.poll() is not None:
                sys.exit(f"the job ended with {process.returncode} before it gave a row")
            time.sleep(pause_s)
        return rows

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def body(number: int, at_ns: int) -> bytes:
    """Return an event of some 100 bytes that carries the time at which it is published."""
    event = {"id": f"{number:09}", "key": f"k-{number % 50}", "value": number % 10, "at": at_ns}
    return json.dumps({**event, "note": "the quick brown fox"}).encode()


def wait(seconds: float) -> None:
    """Sleep, if there is time left to."""
    if seconds > 0:
        time.sleep(seconds)
