"""The engines that Headrace is measured beside, each with an environment of its own where it needs one.

Each is a module that runs one query and prints `run_s`, the seconds from its first read to its last byte
written, without starting the engine, and `run_cpu_s`, the processor seconds of the same if they are known.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nexmark.processes import measured


@dataclass(frozen=True)
class Run:
    """One run of a query: seconds of the whole process and of the run phase, and the most memory it held.

    `cpu_s` and `run_cpu_s` are processor seconds of the two, which a busy machine disturbs least; those of
    Flink's run phase are not known.
    """

    wall_s: float
    run_s: float
    cpu_s: float
    run_cpu_s: float | None
    peak_mb: float


@dataclass(frozen=True)
class Peer:
    """An engine: its module, and the package of its own environment; none for what we have ourselves."""

    module: str
    package: str | None = None


PEERS: Mapping[str, Peer] = {
    "flink": Peer("peer_flink", "apache-flink==2.3.0"),
    "duckdb": Peer("peer_duckdb", "duckdb==2.0.0"),
    "polars": Peer("peer_polars"),
    "loop": Peer("peer_loop"),
}


def python_of(peer: str, cache: Path) -> str:
    """Return the interpreter of a peer; makes its environment in `cache` the first time, with pip."""
    package = PEERS[peer].package
    return sys.executable if package is None else python_with(package, cache)


def python_with(package: str, cache: Path) -> str:
    """Return the interpreter of an environment in `cache` that has a package; it is made the first time."""
    folder = cache / "environments" / package
    if not folder.exists():
        making = folder.with_name(f"{folder.name}.partial")
        print(f"installing {package} ...", file=sys.stderr, flush=True)
        venv.create(making, clear=True, with_pip=True)
        pip = [str(making / "bin" / "python"), "-m", "pip", "install", "--quiet", package]
        subprocess.run(pip, check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
        making.rename(folder)
    return str(folder / "bin" / "python")


def run_peer(peer: str, query: str, data: Path, folder: Path, cache: Path) -> tuple[Run, Path]:
    """Run a query in a peer on the files in `data`; returns what it took and where its rows are."""
    output = folder / "out.jsonl"
    command = [python_of(peer, cache), "-m", f"benchmarks.nexmark.{PEERS[peer].module}"]
    took = measured([*command, query, str(data), str(output)], folder)
    said = json.loads(took.printed.splitlines()[-1])
    run = Run(took.wall_s, said["run_s"], took.cpu_s, said.get("run_cpu_s"), took.peak_mb)
    return run, output
