"""The first seed system: papers -> hub -> query -> queue -> competing instances -> model -> table.

The parts of one demonstration: a project in a folder of its own, the documents, what can be seen while it
runs, and the result. Nothing here prints; `headrace demo papers` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from headrace.clock import Clock, SystemClock
from headrace.connect.feeds.fetch import HttpFetch
from headrace.connect.feeds.poll import FeedPoller
from headrace.engine.bottleneck import Finding, StageRate, find
from headrace.engine.spans import Look
from headrace.errors import UserError
from headrace.events.batch import POLARS_FAULTS
from headrace.experiments.folder import make_folder
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.queue import Queue
from headrace.local.table import Table
from headrace.models.evaluate import Confusion, accuracy, confusion, held_out, share_held_out, top2
from headrace.models.generator import document_blocks
from headrace.models.linear import LinearModel
from headrace.names import PROJECT_FILE
from headrace.project import Project
from headrace.project.bottleneck import ground
from headrace.project.tables import read_table

TABLE: Final = "scimlevents"
JOBS: Final = ("pass", "classify")

#: Events of one publish: small enough that the first arrive at once.
PUBLISH_EVENTS: Final = 250

#: The window of the seed's Figure 2: seconds per event, as the mean of so many intervals.
WINDOW_EVENTS: Final = 20


def make_project(folder: Path, instances: int) -> Project:
    """Write the demonstration's project into `folder`, which is emptied if an earlier one left it."""
    make_folder(folder)
    for source in resources.files("headrace.experiments").joinpath("papers_project").iterdir():
        text = source.read_text("utf-8")
        (folder / source.name).write_text(text.replace("instances = 2", f"instances = {instances}"), "utf-8")
    return Project.load(folder / PROJECT_FILE)


def generated(model: LinearModel, count: int, seed: int) -> Iterator[pl.DataFrame]:
    """Yield documents made from the model's own vocabulary, in blocks."""
    for block in document_blocks(model, seed, count):
        yield from block.iter_slices(PUBLISH_EVENTS)


def from_file(path: Path, limit: int, model: LinearModel) -> Iterator[pl.DataFrame]:
    """Yield the papers of a Parquet file that the model was not trained on, by the rule it was trained by."""
    try:
        papers = pl.read_parquet(path)
    except (OSError, *POLARS_FAULTS) as error:
        raise UserError(f"cannot read papers from {path}: {error}") from None
    missing = [name for name in ("id", "doc", "class", "title") if name not in papers.columns]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}; it has {', '.join(papers.columns)}")
    kept = papers.filter(held_out(papers["id"], share_held_out(model)))
    yield from kept.select("id", "doc", "class", "title").head(limit).iter_slices(PUBLISH_EVENTS)


def from_feed(url: str, limit: int) -> list[bytes]:
    """Return the papers that a live feed announces now, as events. Raises Transient without an answer."""
    polled = FeedPoller(url, fetch=HttpFetch(), clock=SystemClock()).poll()
    if polled.error is not None:
        raise polled.error
    return list(polled.events[:limit])


def encoded(documents: pl.DataFrame) -> list[bytes]:
    """Return each document as the JSON text of an event."""
    texts = documents.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return [text.encode() for text in texts]


@dataclass(slots=True)
class View:
    """What can be seen of a running pipeline at one moment."""

    events_in: int = 0
    queued: int = 0
    scored: int = 0
    dead: int = 0
    stored: int = 0
    at_s: float = 0.0


@dataclass(slots=True)
class Watcher:
    """Reads the state of the pipeline from outside, as any other process could."""

    namespace: Namespace
    hub: Hub
    clock: Clock
    views: list[View] = field(default_factory=list)
    began_ns: int = 0

    def __post_init__(self) -> None:
        self.began_ns = self.clock.monotonic_ns()

    def look(self) -> View:
        """Return the state now, and keep it for the plot."""
        counts = Progress(self.namespace).counts("classify")
        passed = Progress(self.namespace).counts("pass")
        view = View(
            events_in=sum(self.hub.ends()),
            queued=Queue(self.namespace, "work").depth().visible,
            scored=counts.get("events_in", 0),
            dead=counts.get("dead", 0) + passed.get("dead", 0),
            stored=Table(self.namespace, TABLE).count(),
            at_s=(self.clock.monotonic_ns() - self.began_ns) / 1e9,
        )
        self.views.append(view)
        return view

    def first_stored_s(self) -> float | None:
        """Return when the first row was seen in the table, in seconds since watching began."""
        return next((view.at_s for view in self.views if view.stored), None)


def seconds_per_event(arrivals_s: Sequence[float]) -> list[float]:
    """Return, from the 20th event on, the mean interval of the last 20 arrivals (the seed's Figure 2)."""
    return [
        (arrivals_s[last] - arrivals_s[last - WINDOW_EVENTS]) / WINDOW_EVENTS
        for last in range(WINDOW_EVENTS, len(arrivals_s))
    ]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How well the stored guesses fit the authors' classes."""

    documents: int
    best_right: float
    best_or_second_right: float
    matrix: Confusion


def judge(rows: pl.DataFrame) -> Verdict | None:
    """Judge the rows that have a class; None when none has."""
    labelled = rows.filter(pl.col("class").is_not_null() & (pl.col("class") != ""))
    if labelled.is_empty():
        return None
    labels, best, second = labelled["class"], labelled["bestguess"], labelled["secondguess"]
    return Verdict(
        labelled.height, accuracy(labels, best), top2(labels, best, second), confusion(labels, best)
    )


def findings(namespace: Namespace, project: Project, jobs: Sequence[str] = JOBS) -> list[Finding]:
    """Return where the time of each job went from its start on, in the order of the data's path."""
    found = []
    for job in jobs:
        states = Progress(namespace).instances(job)
        began = Look([state._replace(counters={}) for state in states])
        finding = find(job, began, Look(states), ground(project, job))
        if finding is not None and finding.rate:
            found.append(finding)
    return found


def bottleneck(found: Sequence[Finding]) -> tuple[Finding, StageRate] | None:
    """Return the stage that could do the fewest events alone, and what was found of its job.

    The run begins with waiting for the first events: so the rates count, and not who waited.
    """
    stages = [(finding, rate) for finding in found for rate in finding.stages]
    return min(stages, key=lambda stage: stage[1].rate, default=None)


def arrival_times(views: Sequence[View]) -> list[float]:
    """Return when each stored event was there, in seconds, between two looks as if they came evenly."""
    stored = [view.stored for view in views]
    if not stored or stored[-1] == 0:
        return []
    # A look before the first row bounds when it came; looks while nothing came would all say the same.
    changed = [i for i in range(len(views)) if i == 0 or stored[i] != stored[i - 1]]
    first = max(0, changed[1] - 1) if len(changed) > 1 and stored[0] == 0 else 0
    known = [first, *[i for i in changed if i > first]]
    numbers = np.arange(1, stored[-1] + 1)
    times = np.interp(numbers, [stored[i] for i in known], [views[i].at_s for i in known])
    return [float(time) for time in times]


def latest_interval(views: Sequence[View]) -> float | None:
    """Return the mean interval of the last 20 stored events, None before there are as many."""
    stored = views[-1].stored
    if stored <= WINDOW_EVENTS:
        return None
    recent = next((i for i in range(len(views) - 1, -1, -1) if views[i].stored <= stored - WINDOW_EVENTS), 0)
    part = views[recent:]
    ends = np.interp([stored - WINDOW_EVENTS, stored], [v.stored for v in part], [v.at_s for v in part])
    return float(ends[1] - ends[0]) / WINDOW_EVENTS


def stored_rows(project: Project) -> list[dict[str, str]]:
    """Return the rows of the table as they are, the row key as ``id``."""
    return [{"id": row["RowKey"], **row} for row in read_table(TABLE, project=project.file)]
