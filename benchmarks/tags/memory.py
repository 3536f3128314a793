"""The most memory that a job over sensor files holds: by the size of its input, and with very many tags.

    python -m benchmarks.tags.memory [--megabytes 250 500 1000] [--many-tags 1000000] [--plain]

One instance of one thread with its default settings, compaction behind it. The slope is that of a straight
line through the sizes; with it the memory for 10 GB is told.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.nexmark.run import default_cache
from benchmarks.tags.data import generate
from benchmarks.tags.job import Job, run_job

TAGS = 1_000
FAR_GB = 10


def measure(cache: Path, tags: int, megabytes: float, job: Job) -> tuple[int, float]:
    """Return the points of a dataset of its own, and the most memory of the job that reads it."""
    with tempfile.TemporaryDirectory(dir=cache, prefix="tags-memory-") as work:
        generate(Path(work, "data"), tags, megabytes)
        folder = Path(work, "run")
        folder.mkdir()
        took = run_job(job, Path(work, "data"), folder, [])
        shutil.rmtree(folder)
        print(f"| {tags:,} | {megabytes:g} | {took['points']:,} | {took['peak_mb']:.0f} |", flush=True)
    return took["points"], took["peak_mb"]


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", nargs="+", type=float, default=[250, 500, 1_000])
    parser.add_argument("--many-tags", type=int, default=1_000_000)
    parser.add_argument("--plain", action="store_true", help="without the compiled parser")
    parser.add_argument("--cache", type=Path, default=default_cache())
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    job = Job(compiled=not arguments.plain)
    print("| tags | input, MB | points | peak, MB |\n|---|---|---|---|")
    peaks = [measure(arguments.cache, TAGS, size, job)[1] for size in arguments.megabytes]
    measure(arguments.cache, arguments.many_tags, arguments.megabytes[0], job)
    if len(peaks) > 1:
        slope, base = np.polyfit(np.array(arguments.megabytes) / 1_000, peaks, 1)
        far = base + slope * FAR_GB
        print(f"\n{slope:.0f} MB more for each GB of input; {FAR_GB} GB take {max(far, *peaks):.0f} MB")


if __name__ == "__main__":
    main()
