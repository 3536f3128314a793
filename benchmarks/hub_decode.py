"""Events a second from a hub to typed batches, with the strict decoding: ``python -m benchmarks.hub_decode``.

200-byte events, read and decoded in batches of up to 100,000 as a job does, beside a bare Polars reader that
is told the schema and checks nothing, over the same bytes in the same run. Medians of three runs.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from benchmarks.decode import bare_schema, bodies_of, reading
from headrace.connect.hub import HubSource
from headrace.connect.source import Poll
from headrace.events.formats.json import JsonDecoder
from headrace.limits import MAX_BATCH_BYTES, MAX_BATCH_ROWS
from headrace.local.hub import Hub

EVENTS = 1_000_000
BLOCK = 10_000
RUNS = 3


def polls(source: HubSource) -> Iterator[Poll]:
    """Yield the whole hub, batch by batch."""
    offset = 0
    while (poll := source.poll(0, offset, MAX_BATCH_ROWS, MAX_BATCH_BYTES)) is not None:
        yield poll
        offset = poll.next_offset


def strict_s(source: HubSource) -> float:
    """Return the seconds that reading and strict decoding take."""
    decoder, rows = JsonDecoder(), 0
    began = time.perf_counter()
    for poll in polls(source):
        rows += decoder.decode(poll.bodies, poll.joined).batch.height
    took_s = time.perf_counter() - began
    assert rows == EVENTS
    return took_s


def bare_s(source: HubSource, schema: dict[str, pl.DataType]) -> float:
    """Return the seconds that reading and a bare Polars reader take."""
    began = time.perf_counter()
    for poll in polls(source):
        pl.read_ndjson(io.BytesIO(poll.joined or b""), schema=schema)
    return time.perf_counter() - began


def main() -> None:
    bodies = bodies_of(reading, EVENTS)
    with tempfile.TemporaryDirectory() as folder, Hub.create(Path(folder), "events", partitions=1) as hub:
        for start in range(0, EVENTS, BLOCK):
            hub.publish_bodies(bodies[start : start + BLOCK])
        source, schema = HubSource("events", hub), bare_schema(bodies[:1000])
        strict, bare = [], []
        for _ in range(RUNS):
            strict.append(EVENTS / strict_s(source))
            bare.append(EVENTS / bare_s(source, schema))
    print(f"{EVENTS:,} events of {len(bodies[0])} bytes, medians of {RUNS} runs side by side")
    print(f"hub -> strict batches       {statistics.median(strict):>12,.0f} events/s")
    print(f"hub -> bare Polars frames   {statistics.median(bare):>12,.0f} events/s")
    ratio = statistics.median(a / b for a, b in zip(strict, bare, strict=True))
    print(f"ratio                       {ratio:>12.2f}")


if __name__ == "__main__":
    main()
