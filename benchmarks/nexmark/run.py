"""All engines side by side: ``python -m benchmarks.nexmark``.

The engines take turns, query by query, so that whatever else the machine does disturbs them alike; a figure
is the median of its runs. The rows of the first turn are compared with DuckDB's. Events are made anew for
each run of this program, from the same seed, at times of yesterday: in a hub an event may be 20 days late.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import polars as pl

from benchmarks.nexmark.catalogue import CATALOGUE
from benchmarks.nexmark.compare import differing, rows_of
from benchmarks.nexmark.generate import AUCTIONS, BIDS, CYCLE, PERSONS, generate
from benchmarks.nexmark.job import run_files, run_hubs, send
from benchmarks.nexmark.peers import PEERS, Run, python_of, run_peer
from benchmarks.nexmark.report import SMALL_EVENTS, Figure, as_json, tables

ENGINES = ("headrace", "hub", *PEERS)
REFERENCE = "duckdb"
SIZES = (SMALL_EVENTS, 5 * SMALL_EVENTS)
#: What is asked of large sizes, where a run of Flink takes half a minute.
LARGE_QUERIES = ("q0", "q5", "q11", "q12")
#: The events of each kind in a cycle.
PLACES = {"persons": PERSONS, "auctions": AUCTIONS, "bids": BIDS}


@dataclass(frozen=True)
class Bench:
    """Where one size is measured: its events, the same files without any, and its hubs."""

    cache: Path
    work: Path

    @property
    def data(self) -> Path:
        return self.work / "data"

    @property
    def empty(self) -> Path:
        return self.work / "empty"

    @property
    def sent(self) -> Path:
        return self.work / "sent"

    def prepare(self, events: int, *, hub: bool) -> None:
        """Make the events, and send them."""
        noon = datetime.combine(datetime.now(UTC).date() - timedelta(days=1), time(12), UTC)
        generate(self.data, events, start=noon)
        generate(self.empty, 0)
        if hub:
            seconds = send(self.data, self.sent)
            _say(f"{events:,} events sent to hubs in {seconds:.2f} s")

    def run(self, engine: str, query: str) -> tuple[Run, Path]:
        """Run a query once; returns what it took and where its rows are."""
        folder = self.work / f"{query}-{engine}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if engine == "headrace":
            return run_files(query, self.data, self.empty, folder)
        if engine == "hub":
            return run_hubs(query, self.sent, folder)
        return run_peer(engine, query, self.data, folder, self.cache)


def measure(bench: Bench, events: int, query: str, engines: Sequence[str], repeats: int) -> list[Figure]:
    """Run a query in all engines in turn, `repeats` times, and compare the rows of the first turn."""
    figures = {engine: Figure(events, query, engine) for engine in engines}
    outputs = {}
    for turn in range(repeats):
        for engine, figure in figures.items():
            run, output = bench.run(engine, query)
            figure.runs.append(run)
            took = f"run {run.run_s:.2f} s, all {run.wall_s:.2f} s, {run.peak_mb:.0f} MB"
            _say(f"{events:,} {query} {engine}: {took}")
            outputs[engine] = output
        if turn == 0:
            _compare(bench, query, figures, outputs)
    return list(figures.values())


def _compare(bench: Bench, query: str, figures: dict[str, Figure], outputs: dict[str, Path]) -> None:
    reference = outputs[REFERENCE] if REFERENCE in outputs else bench.run(REFERENCE, query)[1]
    wanted = rows_of(query, reference)
    for engine, figure in figures.items():
        rows = rows_of(query, outputs[engine])
        extra, missing = differing(rows, wanted)
        figure.rows = rows.height
        # Time in a hub does not run out: the windows behind its last event stay open.
        figure.equal = not extra.height and (not missing.height or engine == "hub")
        if not figure.equal:
            _say(f"{query} {engine}: {extra.height:,} rows too many, {missing.height:,} missing")
            _say(f"{extra.head(3)}\n{missing.head(3)}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace-benchmarks"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nexmark", description=__doc__)
    parser.add_argument("--queries", nargs="+", choices=list(CATALOGUE), help="default: all of them")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--events", nargs="+", type=int, default=SIZES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="a folder on a local disk for engines and events"
    )
    parser.add_argument(
        "--report", type=Path, help="the folder of report.md and report.json (default: the cache)"
    )
    return parser.parse_args()


def main() -> None:
    """Measure what the command line asks for; exits with 1 when an engine gave other rows."""
    arguments = _arguments()
    # Whoever is told to end takes the processes and files of the run along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cache = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    for peer in {REFERENCE, *arguments.engines} & set(PEERS):
        python_of(peer, cache)
    figures: list[Figure] = []
    for events in arguments.events:
        queries = arguments.queries or (LARGE_QUERIES if events > SMALL_EVENTS else tuple(CATALOGUE))
        with tempfile.TemporaryDirectory(dir=cache, prefix="run-") as work:
            bench = Bench(cache, Path(work))
            bench.prepare(events, hub="hub" in arguments.engines)
            for query in queries:
                figures += measure(bench, events, query, arguments.engines, arguments.repeats)
                _report(figures, arguments.report or cache)
    print(_report(figures, arguments.report or cache))
    sys.exit(0 if all(figure.equal for figure in figures) else 1)


def _report(figures: Sequence[Figure], folder: Path) -> str:
    rows_read = {
        (figure.events, figure.query): figure.events // CYCLE * sum(map(PLACES.__getitem__, inputs))
        for figure in figures
        for inputs in [CATALOGUE[figure.query].inputs]
    }
    versions = [f"Python {platform.python_version()}", f"Polars {pl.__version__}"]
    versions += [peer.package for peer in PEERS.values() if peer.package]
    machine = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end"
    text = f"{machine}; {', '.join(versions)}.\n\n{tables(figures, rows_read)}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(json.dumps(as_json(figures), indent=1))
    return text
