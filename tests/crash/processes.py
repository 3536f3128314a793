"""A project in a folder, and the command `headrace` run on it as a process of its own."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headrace.local.dead_letters import DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.local.table import Table

TIMEOUT_S = 60


@dataclass
class Sandbox:
    folder: Path

    @property
    def data(self):
        return self.folder / ".headrace"

    def write(self, **files):
        for name, text in files.items():
            (self.folder / name.replace("__", ".")).write_text(text, "utf-8")

    def command(self, *words):
        return [sys.executable, "-m", "headrace.cli", *words, "--project", str(self.folder)]

    def run(self, *words):
        """Run `headrace` to its end."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

    @contextlib.contextmanager
    def running(self, *words, prefix=()):
        """Run `headrace` in the background; what still runs at the end of the block is killed."""
        process = subprocess.Popen(
            [*prefix, *self.command(*words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate(timeout=TIMEOUT_S)

    def publish(self, hub, bodies, *, partitions=1):
        with Hub.ensure(self.data / "hubs", hub, partitions=partitions) as opened:
            for partition in range(partitions):
                opened.publish_bodies(bodies[partition::partitions], partition=partition)

    def send(self, queue, bodies):
        with Namespace.open(self.data) as namespace, namespace.transaction() as tx:
            Queue(namespace, queue).send(tx, bodies)

    def keys(self, table):
        """The row keys of a table, none when nothing was written yet."""
        with Namespace.open(self.data) as namespace:
            return [entity.row_key for entity in Table(namespace, table).read()]

    def dead_letters(self):
        with Namespace.open(self.data, create=False) as namespace:
            return DeadLetters(namespace).find()


def wait_until(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait for what another process is to do; fails loudly instead of waiting for ever."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
