"""How the cost of a tumbling count grows: with its keys, with the event time that passes, with instances.

    python -m benchmarks.growth [FOLDER]

Each line is a hub of four partitions that is read to its end by ``headrace run --until-end``, in a process of
its own: the seconds of the whole process less those of the same job over an empty hub, medians of 3, the
lines in turn. One window holds all keys in the first table, so that the whole state is there at the end. A
table is printed for each question, and ``growth.svg`` is drawn in FOLDER, where the data are made, too.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nexmark.processes import measured
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress

EVENTS = 1_000_000
PARTITIONS = 4
REPEATS = 3
BLOCK = 10_000
#: What was made up lies in the past by more than an event may be late by default.
LATE_S = 20 * 24 * 3600
BEGIN_S = 10 * 24 * 3600

_SETTINGS = """
[inputs.events]
kind = "hub"
key = "key"
[outputs.counts]
kind = "file"
path = "counts.jsonl"
[jobs.count]
instances = {instances}
late_seconds = {late}
sql = '''
SELECT [key], COUNT(*) AS n, SUM(value) AS total, System.Timestamp() AS at INTO counts
FROM events TIMESTAMP BY t GROUP BY [key], TumblingWindow(second, {window_s})
'''
"""


@dataclass(frozen=True)
class Load:
    """Events over so many keys and so much event time, in windows of `window_s`, read by `instances`."""

    question: str
    name: str
    keys: int = 1_000
    span_s: int = 3_600
    window_s: int = 10
    instances: int = 1


LOADS = (
    *(Load("keys", f"{keys:,} keys", keys, 1_000, 24 * 3600) for keys in (10, 1_000, 100_000, 1_000_000)),
    Load("event time", "1 hour", span_s=3_600),
    Load("event time", "10 hours", span_s=36_000),
    Load("instances", "1 instance", 10_000, 1_000, 10, 1),
    Load("instances", "2 instances", 10_000, 1_000, 10, 2),
)


@dataclass(frozen=True)
class Took:
    """What one run took: rows a second, the largest memory, and the state that was saved last."""

    rows_per_s: float
    peak_mb: float
    state_mb: float


def bodies(load: Load, begin_s: float, numbers: Sequence[int]) -> Iterator[tuple[bytes, str]]:
    """Yield events and their keys, in order of time."""
    chance = random.Random(numbers[0])
    for number in numbers:
        key = str(chance.randrange(load.keys))
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin_s + number * load.span_s / EVENTS))
        yield json.dumps({"key": key, "value": number % 10, "t": at}).encode(), key


def make(folder: Path, load: Load, events: int) -> None:
    """Make a project whose hub holds so many events."""
    folder.mkdir()
    settings = _SETTINGS.format(instances=load.instances, late=LATE_S, window_s=load.window_s)
    (folder / "headrace.toml").write_text(settings)
    begin_s = time.time() - BEGIN_S
    with Hub.create(folder / ".headrace" / "hubs", "events", partitions=PARTITIONS) as hub:
        for first in range(0, events, BLOCK):
            pairs = list(bodies(load, begin_s, range(first, min(events, first + BLOCK))))
            hub.publish_bodies([body for body, _ in pairs], keys=[key for _, key in pairs])


def run(folder: Path) -> tuple[float, float]:
    """Read a project's hub to the end; return the seconds and the largest memory in MB."""
    command = [sys.executable, "-m", "headrace.cli", "run", "--until-end", "--project", str(folder)]
    took = measured(command, folder)
    return took.wall_s, took.peak_mb


def took(folder: Path, load: Load) -> Took:
    """Measure one run over all events, less one over none."""
    make(folder / "empty", load, 0)
    make(folder / "full", load, EVENTS)
    start_s, _ = run(folder / "empty")
    wall_s, peak_mb = run(folder / "full")
    with Namespace.open(folder / "full" / ".headrace") as namespace:
        progress = Progress(namespace)
        assert progress.counts("count")["events_in"] == EVENTS
        states = [progress.state("count", task) for task in progress.tasks_with_state("count")]
    state_bytes = sum(len(part) for state in states if state for part in state.parts.values())
    return Took(EVENTS / (wall_s - start_s), peak_mb, state_bytes / 1e6)


def medians(runs: Sequence[Took]) -> Took:
    """Return the median of each figure."""
    return Took(
        statistics.median(run.rows_per_s for run in runs),
        statistics.median(run.peak_mb for run in runs),
        statistics.median(run.state_mb for run in runs),
    )


def draw(found: dict[Load, Took], path: Path) -> None:
    """Draw rows a second for each question."""
    import matplotlib as mpl  # noqa: PLC0415 - optional

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415 - optional

    questions = list(dict.fromkeys(load.question for load in found))
    figure, charts = pyplot.subplots(1, len(questions), figsize=(10, 3.6), layout="constrained", sharey=True)
    for axes, question in zip(charts, questions, strict=True):
        own = {load.name: figures for load, figures in found.items() if load.question == question}
        names = [name.replace(" keys", "") for name in own]  # the title says what they are
        bars = axes.bar(names, [figures.rows_per_s / 1e3 for figures in own.values()], color="tab:blue")
        axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8)
        axes.set_title(question)
        axes.tick_params(axis="x", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    charts[0].set_ylabel("thousand rows/s")
    figure.suptitle("A tumbling count and sum over a hub, read to its end")
    figure.savefig(path)


def main() -> None:
    """Measure every load in turn, three times."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    runs: dict[Load, list[Took]] = {load: [] for load in LOADS}
    for _ in range(REPEATS):
        for load in LOADS:
            with tempfile.TemporaryDirectory(dir=target) as folder:
                runs[load].append(took(Path(folder), load))
    found = {load: medians(some) for load, some in runs.items()}
    print(f"{'question':12} {'load':16} {'rows/s':>12} {'peak MB':>8} {'state MB':>9}")
    for load, figures in found.items():
        print(
            f"{load.question:12} {load.name:16} {figures.rows_per_s:12,.0f} "
            f"{figures.peak_mb:8,.0f} {figures.state_mb:9.2f}"
        )
    draw(found, target / "growth.svg")


if __name__ == "__main__":
    main()
