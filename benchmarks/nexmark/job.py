"""A query as a Headrace job, run by ``headrace run --until-end``: from files or hubs to a file.

The run phase is the seconds of the whole process less those of the same job over inputs without events,
measured right before: what remains begins with the first read and ends with the last commit, epochs and
snapshots as always. Each run has a project of its own, so that nothing is left of the one before.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from benchmarks.nexmark.catalogue import CATALOGUE, text_of
from benchmarks.nexmark.generate import KINDS
from benchmarks.nexmark.peers import Run
from benchmarks.nexmark.processes import Measured, measured

HEADRACE = (sys.executable, "-m", "headrace.cli")

#: What was sent to a hub is as late as the time since it was made up; this is the most that a job can allow.
LATE_S = 20 * 24 * 3600

LEAST_S = 0.001

_FILE_INPUT = """
[inputs.{kind}]
kind = "file"
path = {path}
"""

_HUB_INPUT = """
[inputs.{kind}]
kind = "hub"
"""

_JOB = """
[outputs.out]
kind = "file"
path = "out.jsonl"

[jobs.{query}]
query = "{query}.sql"
late_seconds = {late}
"""


def _write_project(query: str, inputs: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "headrace.toml").write_text(inputs + _JOB.format(query=query, late=LATE_S))
    (folder / f"{query}.sql").write_text(text_of(query))


def _run(project: Path) -> Measured:
    return measured([*HEADRACE, "run", "--until-end", "--project", str(project)], project)


def _beyond_start(took: Measured, empty: Measured) -> Run:
    # Of a few events the noise of two starts is more than the run.
    run_s, run_cpu_s = (
        max(full - start, LEAST_S) for full, start in ((took.wall_s, empty.wall_s), (took.cpu_s, empty.cpu_s))
    )
    return Run(took.wall_s, run_s, took.cpu_s, run_cpu_s, took.peak_mb)


def run_files(query: str, data: Path, empty: Path, folder: Path) -> tuple[Run, Path]:
    """Run a query on the files in `data`; `empty` has the same files without events."""
    took = []
    for name, source in (("empty", empty), ("full", data)):
        inputs = (
            _FILE_INPUT.format(kind=kind, path=json.dumps(str(source / f"{kind}.jsonl")))
            for kind in CATALOGUE[query].inputs
        )
        _write_project(query, "".join(inputs), folder / name)
        took.append(_run(folder / name))
    return _beyond_start(took[1], took[0]), folder / "full" / "out.jsonl"


def send(data: Path, project: Path) -> float:
    """Make a project whose hubs hold all events of `data`; returns the seconds of ``headrace send``."""
    project.mkdir()
    (project / "headrace.toml").write_text("".join(_HUB_INPUT.format(kind=kind) for kind in KINDS))
    return sum(
        measured(
            [*HEADRACE, "send", kind, str(data / f"{kind}.jsonl"), "--project", str(project)], project
        ).wall_s
        for kind in KINDS
    )


def run_hubs(query: str, sent: Path, folder: Path) -> tuple[Run, Path]:
    """Run a query on the hubs of the project `sent`, of which the run gets a copy."""
    shutil.copytree(sent, folder / "full")
    inputs = "".join(_HUB_INPUT.format(kind=kind) for kind in CATALOGUE[query].inputs)
    took = []
    for name in ("empty", "full"):
        _write_project(query, inputs, folder / name)
        took.append(_run(folder / name))
    return _beyond_start(took[1], took[0]), folder / "full" / "out.jsonl"
