"""How fast a namespace takes rows and passes messages: ``python -m benchmarks.table_and_queue``.

Every commit is synced. Rows have about 200 bytes of properties and come 10,000 to a commit, with keys that
grow or that are random digests, into a table that grows to 300,000 rows. Messages come 1,000 to a commit; a
claim and a delete are a commit each. Each figure is the median of three runs.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.local.table import Entities, Table

_RUNS = 3
_BATCH_ROWS = 10_000
_BATCHES = 30
_BATCH_MESSAGES = 1_000
_MESSAGES = 50_000


def key_in_order(number: int) -> str:
    """Return a key above all earlier ones."""
    return f"{number:020}"


def random_key(number: int) -> str:
    """Return a key that lands anywhere among the earlier ones."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def batch(key: Callable[[int], str], first: int) -> Entities:
    """Return rows of the seed's table."""
    numbers = range(first, first + _BATCH_ROWS)
    properties = [
        json.dumps(
            {"class": "math.CO", "best": "math.CO", "second": "cs.DM", "title": "word " * 24, "n": number}
        )
        for number in numbers
    ]
    partition_keys = pl.repeat("host-1", _BATCH_ROWS, dtype=pl.String, eager=True)
    return Entities(partition_keys, pl.Series([key(number) for number in numbers]), pl.Series(properties))


def upsert(namespace: Namespace, batches: list[Entities]) -> float:
    """Return rows a second."""
    table = Table(namespace, "t")
    started = time.perf_counter()
    for entities in batches:
        with namespace.transaction() as tx:
            table.upsert(tx, entities)
    return len(batches) * _BATCH_ROWS / (time.perf_counter() - started)


def send(namespace: Namespace, size_bytes: int) -> float:
    """Return messages a second."""
    queue = Queue(namespace, "q")
    bodies = [bytes(size_bytes)] * _BATCH_MESSAGES
    started = time.perf_counter()
    for _ in range(_MESSAGES // _BATCH_MESSAGES):
        with namespace.transaction() as tx:
            queue.send(tx, bodies)
    return _MESSAGES / (time.perf_counter() - started)


def claim_and_delete(namespace: Namespace, size_bytes: int, limit: int) -> float:
    """Return messages a second."""
    send(namespace, size_bytes)
    queue = Queue(namespace, "q")
    started = time.perf_counter()
    while messages := queue.claim(limit=limit, owner="me"):
        with namespace.transaction() as tx:
            queue.delete(tx, messages)
    return _MESSAGES / (time.perf_counter() - started)


def median(what: str, unit: str, measure: Callable[[Namespace], float]) -> None:
    """Print the median of a measure, each run in a namespace of its own."""
    rates = []
    for _ in range(_RUNS):
        with tempfile.TemporaryDirectory(dir=".") as folder, Namespace.open(Path(folder)) as namespace:
            rates.append(measure(namespace))
    print(f"{what:<48} {statistics.median(rates):>10,.0f} {unit}/s")


def main() -> None:
    """Measure and print."""
    for what, key in (("keys in order", key_in_order), ("random keys", random_key)):
        batches = [batch(key, number * _BATCH_ROWS) for number in range(_BATCHES)]
        median(f"upsert, {what}", "rows", lambda namespace, batches=batches: upsert(namespace, batches))
    for size_bytes in (200, 1_000):
        median(
            f"send, {size_bytes} bytes",
            "messages",
            lambda namespace, size_bytes=size_bytes: send(namespace, size_bytes),
        )
        for limit in (1_000, 100):
            median(
                f"claim and delete, {size_bytes} bytes, {limit} at a time",
                "messages",
                lambda namespace, size_bytes=size_bytes, limit=limit: claim_and_delete(
                    namespace, size_bytes, limit
                ),
            )


if __name__ == "__main__":
    main()
