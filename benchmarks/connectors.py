"""Rows per second, processor time and memory of every connector, each in a process of its own.

    python -m benchmarks.connectors [--rows N] [--only NAME ...]

Inputs are polled and decoded to batches, nothing more; outputs get batches of 10,000 rows that are there
already, prepared and committed or delivered one by one. Rows are readings of sensors of about 200 bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl

import headrace as hr
from benchmarks.decode import reading
from headrace.connect.sink import LocalSink, RemoteSink, Rows, Sink, StagedSink
from headrace.connect.source import CompetingSource, OrderedSource, Source
from headrace.events.formats.decoders import decoder_of
from headrace.events.formats.json import from_rows
from headrace.local.namespace import Namespace
from headrace.project.opening import open_sink, open_source
from headrace.testing.postgresql import fresh_database, session_server

BATCH_ROWS = 10_000
POLL_ROWS = 20_000
POLL_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Case:
    """An output's settings, and the input's that read what it wrote, if one does."""

    output: str
    input: str | None = None


CASES = {
    "hub": Case('kind = "hub"\nhub = "h"\npartitions = 1', 'kind = "hub"\nhub = "h"'),
    "queue": Case('kind = "queue"\nqueue = "q"', 'kind = "queue"\nqueue = "q"'),
    "table": Case('kind = "table"\nrow_key = "id"'),
    **{
        f"file, {name}": Case(
            f'kind = "file"\npath = "rows{ending}"', f'kind = "file"\npath = "rows*{ending}"'
        )
        for name, ending in {
            "JSON lines": ".jsonl",
            "JSON lines, gzip": ".jsonl.gz",
            "CSV": ".csv",
            "Avro": ".avro",
            "Parquet": ".parquet",
        }.items()
    },
    "topic": Case('kind = "topic"\ntopic = "t"', 'kind = "topic"\ntopic = "t"\nsubscription = "s"'),
    "SQLite": Case('kind = "sqlite"\npath = "rows.db"\ntable = "rows"'),
    "PostgreSQL": Case('kind = "postgresql"\nurl = "{postgresql}"\ntable = "rows"'),
    "webhook": Case('kind = "webhook"\nurl = "{web}"'),
    "Python": Case('kind = "python"\npython = "taker.py:take"'),
    "console": Case('kind = "console"'),
}


@dataclass
class Used:
    """What work took: seconds, and of processors."""

    rows: int
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.rows / self.wall_s

    @property
    def cpu_s_per_million(self) -> float:
        return self.cpu_s / self.rows * 1e6


def measured(work: Callable[[], int]) -> Used:
    gc.collect()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    rows = work()
    return Used(rows, time.perf_counter() - wall_s, time.process_time() - cpu_s)


# --- one case, in its own process -------------------------------------------------------------------------


def run_case(name: str, direction: str, rows: int, folder: Path) -> None:
    """Measure one direction of a case and print what it took; "fill" writes what "in" reads."""
    case = CASES[name]
    with contextlib.ExitStack() as stack:
        given = _targets(stack, case.output)
        settings = f"[outputs.rows]\n{case.output.format(**given)}\n"
        if case.input:
            settings += f"[inputs.events]\n{case.input}\n"
            settings += '[jobs.job]\nsql = "SELECT * INTO rows FROM events"\n'
        (folder / "headrace.toml").write_text(settings)
        (folder / "taker.py").write_text("def take(rows):\n    pass\n")
        project = hr.Project.load(folder)
        namespace = stack.enter_context(Namespace.open(folder / ".headrace"))
        if direction == "in":
            source = open_source(project, namespace, "job", "events", "0")
            stack.callback(source.close)
            used = measured(lambda: _read(source, namespace))
        else:
            sink = open_sink(project, namespace, "job", "rows", 0)
            stack.callback(sink.close)
            batches = list(_batches(rows))
            used = measured(lambda: _write(sink, namespace, batches))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([used.rows, used.rate, used.cpu_s_per_million, peak_mb]), file=sys.stderr)


def _batches(count: int) -> Iterator[Rows]:
    random_ = random.Random(1)
    for first in range(0, count, BATCH_ROWS):
        batch = from_rows([reading(random_, n) for n in range(first, min(first + BATCH_ROWS, count))])
        ids = pl.select(pl.format("events/0/{}", pl.int_range(first, first + batch.height))).to_series()
        yield Rows(batch, lambda ids=ids: ids)


def _write(sink: Sink, namespace: Namespace, batches: list[Rows]) -> int:
    if isinstance(sink, StagedSink):
        sink.resume()
    for sequence, rows in enumerate(batches, start=1):
        prepared = sink.prepare(rows)
        assert not prepared.failures, dict(list(prepared.failures.items())[:1])
        match sink:
            case RemoteSink():
                sink.deliver(prepared.payload, "job/instance-0", sequence)
            case StagedSink():
                staged = sink.stage(prepared.payload)
                with namespace.transaction() as tx:
                    sink.publish(tx, staged)
            case LocalSink():
                with namespace.transaction() as tx:
                    sink.write(tx, prepared)
    while isinstance(sink, StagedSink) and (settled := sink.settle(ending=True)) is not None:
        with namespace.transaction() as tx:
            sink.publish(tx, settled)
    return sum(rows.batch.height for rows in batches)


def _read(source: Source, namespace: Namespace) -> int:
    decoders, count, offset = {}, 0, 0
    if isinstance(source, OrderedSource):
        offset = source.begin(0)
        source.end(0)
    while True:
        if isinstance(source, CompetingSource):
            poll = source.lease(POLL_ROWS, POLL_BYTES)
        else:
            poll = source.poll(0, offset, POLL_ROWS, POLL_BYTES)
        if poll is None:
            return count
        decoded = poll.decoded
        if decoded is None:
            key = (poll.format, poll.header)
            decoder = decoders.setdefault(key, decoder_of(*key))
            decoded = decoder.decode(poll.bodies, poll.joined)
        assert not decoded.rejects, decoded.rejects[:1]
        count += decoded.batch.height
        if isinstance(source, CompetingSource):
            with namespace.transaction() as tx:
                source.finish(tx, poll)
        else:
            offset = poll.next_offset


class _Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _targets(stack: contextlib.ExitStack, settings: str) -> dict[str, str]:
    """Start what a case delivers to, and return its address."""
    if "{web}" in settings:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        return {"web": f"http://127.0.0.1:{server.server_port}/"}
    if "{postgresql}" in settings:
        server = stack.enter_context(session_server(sys.exit))
        return {"postgresql": fresh_database(server)}
    return {}


# --- the table --------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--direction", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        run_case(given.case, given.direction, given.rows, given.folder)
        return
    print(
        "| connector | rows/s out | CPU s per million | peak MB | rows/s in | CPU s per million | peak MB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in given.only:
        with tempfile.TemporaryDirectory() as folder:
            cells = [name]
            for direction in ("out", "in"):
                if direction == "in" and CASES[name].input is None:
                    cells += ["", "", ""]
                    continue
                cells += _measured_apart(name, direction, given.rows, folder)
            print(f"| {' | '.join(cells)} |", flush=True)


def _measured_apart(name: str, direction: str, rows: int, folder: str) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.connectors", "--case", name, "--direction", direction]
    command += ["--rows", str(rows), "--folder", folder]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    last = done.stderr.strip().rpartition("\n")[2]
    if done.returncode:
        print(f"{name}, {direction}: {last}", file=sys.stderr)
        return ["-", "-", "-"]
    found, rate, cpu_s, peak_mb = json.loads(last)
    assert found == rows, f"{name}, {direction}: {found} rows of {rows}"
    return [f"{rate:,.0f}", f"{cpu_s:.2f}", f"{peak_mb:.0f}"]


if __name__ == "__main__":
    main()
