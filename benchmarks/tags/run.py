"""The benchmark: files of 1,000 and of 10,000 tags, every way in turn, and what each came to.

    python -m benchmarks.tags [--tags 1000 10000] [--megabytes 300] [--repeats 3] [--only WAY ...]

All take the same batches of ten files, and one core where they are pinned. Ways are run in turns, so that
what disturbs the machine disturbs all of them. The report is printed, and kept as report.md and report.json.
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
from pathlib import Path

from benchmarks.nexmark.run import default_cache
from benchmarks.tags.data import generate
from benchmarks.tags.report import Figure, as_json, goals, table
from benchmarks.tags.ways import WAYS, Peer, prepare, run


def measure(tags: int, megabytes: float, ways: Sequence[str], repeats: int, cache: Path) -> list[Figure]:
    """Run ways in turns over the same files, those that are slow only once."""
    figures = {way: Figure(tags, way) for way in ways}
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=cache, prefix="tags-") as work:
        data = Path(work, "data")
        points = generate(data, tags, megabytes)
        _say(f"{points:,} points of {tags:,} tags")
        for turn in range(repeats):
            for way, figure in figures.items():
                runs = WAYS[way].runs
                if turn and isinstance(runs, Peer) and runs.batches:
                    continue
                folder = Path(work, way)
                folder.mkdir()
                found = run(WAYS[way], data, folder, cache, core)
                shutil.rmtree(folder)
                figure.runs.append(found)
                _say(
                    f"{tags:,} {way}: {found.points / found.run_s / 1e6:.2f} M points/s, run "
                    f"{found.run_s:.2f} s, all {found.wall_s:.2f} s, {found.peak_mb:.0f} MB"
                )
    return list(figures.values())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tags", description=__doc__)
    parser.add_argument("--tags", nargs="+", type=int, default=[1_000, 10_000])
    parser.add_argument("--megabytes", type=float, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="a folder on a local disk for engines and files"
    )
    parser.add_argument("--report", type=Path, help="the folder of report.md and report.json")
    return parser.parse_args()


def main() -> None:
    """Measure what the command line asks for."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cache = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    prepare(arguments.only, cache)
    figures: list[Figure] = []
    for tags in arguments.tags:
        figures += measure(tags, arguments.megabytes, arguments.only, arguments.repeats, cache)
    machine = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end"
    heading = f"{machine}; Python {platform.python_version()}; {arguments.megabytes:g} MB of files."
    text = "\n".join([heading, table(figures), "", *goals(figures), ""])
    folder = arguments.report or cache / "tags"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(json.dumps(as_json(figures), indent=1))
    print(text)
