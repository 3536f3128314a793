"""The ways from sensor files to points that are kept, which are measured side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nexmark.peers import python_with
from benchmarks.nexmark.processes import measured
from benchmarks.tags.job import Job, run_job

#: One processor, the last: the first has most to do for the system.
PINNED = ("taskset", "--cpu-list", "{core}")


@dataclass(frozen=True)
class Run:
    """One run: its points and seconds, of the whole process too, its memory, and what it left behind.

    Processor seconds are those of the run phase.
    """

    points: int
    run_s: float
    run_cpu_s: float
    wall_s: float
    peak_mb: float
    files: int
    size_bytes: int


@dataclass(frozen=True)
class Peer:
    """A module with a variant, and the package of its environment; `batches` are all unless it is slow."""

    module: str
    variant: str = ""
    package: str | None = None
    batches: int = 0


@dataclass(frozen=True)
class Way:
    """A way, its name in the tables, whether all of it stands on the disk in the end, and what runs it."""

    name: str
    durable: bool
    runs: Job | Peer
    pinned: bool = True


DUCKDB, CHDB = "duckdb==2.0.0", "chdb==4.4.0"

WAYS: Mapping[str, Way] = {
    "read": Way("ceiling: files read, lines counted", False, Peer("ceiling", "raw")),
    "parse": Way("ceiling: read and parsed, pyarrow", False, Peer("ceiling", "arrow")),
    "parse-compiled": Way("ceiling: read and parsed, compiled", False, Peer("ceiling", "compiled")),
    "headrace": Way("**Headrace**, pyarrow", True, Job(compiled=False)),
    "headrace-compiled": Way("**Headrace**, compiled", True, Job(compiled=True)),
    "headrace-free": Way("**Headrace**, compiled, not pinned", True, Job(compiled=True), pinned=False),
    "headrace-two": Way(
        "**Headrace**, compiled, two instances, not pinned", True, Job(compiled=True, instances=2), False
    ),
    "files": Way("the paper's layout, by Headrace, compiled", False, Job(compiled=True, layout="files")),
    "paper": Way("the paper's layout, plain Python", False, Peer("peer_paper")),
    "paper-synced": Way("the same, each file synced", True, Peer("peer_paper", "synced", batches=1)),
    "polars": Way("Polars `sink_parquet` partitioned by tag", False, Peer("peer_polars", batches=2)),
    "duckdb-insert": Way("DuckDB, inserted from `read_csv`", True, Peer("peer_duckdb", "insert", DUCKDB)),
    "duckdb-copy": Way("DuckDB `COPY PARTITION_BY`", False, Peer("peer_duckdb", "copy", DUCKDB, 1)),
    "chdb": Way("ClickHouse (chdb), inserted", False, Peer("peer_chdb", "", CHDB)),
}


def prepare(ways: Sequence[str], cache: Path) -> None:
    """Make the environments that some ways need."""
    for way in ways:
        peer = WAYS[way].runs
        if isinstance(peer, Peer) and peer.package:
            python_with(peer.package, cache)


def run(way: Way, data: Path, folder: Path, cache: Path, core: int) -> Run:
    """Run a way on the files in `data`, in an empty folder."""
    prefix = [word.format(core=core) for word in PINNED] if way.pinned else []
    if isinstance(way.runs, Job):
        return Run(**run_job(way.runs, data, folder, prefix))
    peer = way.runs
    python = python_with(peer.package, cache) if peer.package else sys.executable
    command = [*prefix, python, "-m", f"benchmarks.tags.{peer.module}"]
    took = measured([*command, str(data), str(folder / "out"), str(peer.batches), peer.variant], folder)
    said = json.loads(took.printed.splitlines()[-1])
    return Run(**said, wall_s=took.wall_s, peak_mb=took.peak_mb)
