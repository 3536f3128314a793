"""Sensor files to histories as a Headrace job, by ``headrace tags enqueue`` and ``headrace run --until-end``.

The run phase begins when the first message is taken and ends with the last commit, as the job's records say;
that of several instances begins when the last of them takes its first message, as they do not start at once.
Where the compiled parser is not to be used compiled code is hidden from the job, as if it were not there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.nexmark.processes import measured
from headrace.local.namespace import Namespace
from headrace.local.series_records import files_done

HEADRACE = (sys.executable, "-m", "headrace.cli")

SETTINGS = """
[inputs.readings]
kind = "dataset"
stores = {{ main = {data} }}

[outputs.history]
kind = "series"
layout = "{layout}"

[jobs.histories]
sql = "SELECT tag, time, value INTO history FROM readings"
instances = {instances}
threads = 1
"""

#: Python runs this module at every start, where it is found.
NOT_COMPILED = "import headrace.native\nheadrace.native.library = lambda source: None\n"


@dataclass(frozen=True)
class Job:
    """A job: with the compiled parser or without, and as so many processes of one thread."""

    compiled: bool
    instances: int = 1
    layout: str = "segments"


def run_job(job: Job, data: Path, folder: Path, prefix: Sequence[str]) -> dict[str, Any]:
    """Run a job to the end of the dataset in `data`; returns the fields of a `Run`."""
    settings = SETTINGS.format(data=json.dumps(str(data)), layout=job.layout, instances=job.instances)
    project = folder / "project"
    project.mkdir()
    (project / "headrace.toml").write_text(settings)
    hidden = folder / "hidden"
    hidden.mkdir()
    if not job.compiled:
        (hidden / "sitecustomize.py").write_text(NOT_COMPILED)
    start = ["env", f"PYTHONPATH={hidden}", *prefix, *HEADRACE]
    run = [*start, "run", "histories", "--until-end", "--project", str(project)]
    idle = measured(run, folder)
    measured([*start, "tags", "enqueue", "--project", str(project)], folder)
    took = measured(run, folder)
    with Namespace.open(project / ".headrace", create=False) as namespace:
        done = files_done(namespace, "histories")
    began_us = max(min(file.t1_us for file in done if file.line == line) for line in {f.line for f in done})
    counted = sum(file.points for file in done if file.t1_us >= began_us)
    points, counted_s = sum(file.points for file in done), (max(f.t8_us for f in done) - began_us) / 1e6
    # The least that a clock of so many ticks a second can tell.
    busy_s = max(took.cpu_s - idle.cpu_s, 0.01)
    endings = {".parquet", ".csv"}  # segments, or files of tags
    stored = [path for path in (project / "history").rglob("*") if path.suffix in endings]
    return {
        "points": points,
        "run_s": counted_s * points / counted,
        "run_cpu_s": busy_s,
        "wall_s": took.wall_s,
        "peak_mb": took.peak_mb,
        "files": len(stored),
        "size_bytes": sum(path.stat().st_size for path in stored),
    }
