"""How long `headrace run` takes to its first row: ``python -m benchmarks.start_up [--runs N]``.

A hundred events are in the hub already, and all files have been read before (warm disk). The clock runs from
just before the command is started to when another process sees a row in the table, looking every millisecond.
Beside it stands what no start can go below: an interpreter that does nothing, and one that imports Polars.
Where Python may not write its bytecode (PYTHONDONTWRITEBYTECODE) and the package was not installed with it,
every start compiles the package anew, which costs a third more. Each figure is the median of its runs, made
in turn.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.running import HUB, STATEFUL, STATELESS, Pipeline, Reader, body
from headrace.local.hub import Hub

RUNS = 5
EVENTS = 100
TARGET_S = 1.0


def first_row(sql: str) -> float:
    """Return the seconds from the command to the first row."""
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        pipeline = Pipeline(Path(folder), sql)
        with Hub.open(pipeline.hubs, HUB) as hub:
            for partition in range(hub.partitions):
                hub.publish_bodies([body(n, 0) for n in range(EVENTS)], partition=partition)
        reader = Reader(pipeline)
        try:
            began = time.perf_counter()
            with pipeline.running() as process:
                reader.wait(process, pause_s=0.001)
                return time.perf_counter() - began
        finally:
            reader.close()


def interpreter(script: str) -> float:
    """Return the seconds that Python takes for `script`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True)
    return time.perf_counter() - began


MEASURED: dict[str, Callable[[], float]] = {
    "headrace run, a filter": lambda: first_row(STATELESS),
    "headrace run, LAG": lambda: first_row(STATEFUL),
    "python -c 'import polars'": lambda: interpreter("import polars"),
    "python -c ''": lambda: interpreter(""),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start_up")
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    for measure in MEASURED.values():  # warms the disk
        measure()
    took: dict[str, list[float]] = {name: [] for name in MEASURED}
    for _ in range(runs):
        for name, measure in MEASURED.items():
            took[name].append(measure())
    print(f"{'seconds':<28}{'median':>8}{'least':>8}{'most':>8}")
    for name, seconds in took.items():
        median_s = statistics.median(seconds)
        verdict = ""
        if name.startswith("headrace"):
            verdict = f"  under {TARGET_S:g}: {'met' if median_s < TARGET_S else 'MISSED'}"
        print(f"{name:<28}{median_s:>8.3f}{min(seconds):>8.3f}{max(seconds):>8.3f}{verdict}")


if __name__ == "__main__":
    main()
