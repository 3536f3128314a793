"""The second seed system: sensor files of tenants -> work queue -> competing instances -> histories of tags.

The parts of one demonstration: a project in a folder of its own, the files, what can be seen while it runs,
and the result. Nothing here prints; `headrace demo tags` shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.clock import Clock
from headrace.experiments.folder import make_folder
from headrace.local.namespace import Namespace
from headrace.local.series_records import FileDone, files_done
from headrace.names import PROJECT_FILE
from headrace.project import Project
from headrace.project.series import open_series
from headrace.series.generate import START_US, Generator, write_dataset
from headrace.series.points import Points, guid_text

JOB: Final = "histories"
STORE: Final = "history"
FOLDER: Final = "in"

_MEGABYTE: Final = 1_000_000

#: Values have so many decimal places at most: scaled by this they are whole numbers, whose sums are exact.
_SCALE: Final = 10_000


class Tenant(NamedTuple):
    """A tenant of the demonstration: its part of the bytes, and the signals that its tags have in turn."""

    name: str
    share: float
    signals: tuple[str, ...]


TENANTS: Final = (
    Tenant("acme", 0.5, ("random",)),
    Tenant("bolt", 0.3, ("sine", "walk", "setpoint", "analog")),
    Tenant("coil", 0.2, ("counter", "boolean", "setpoint")),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Who does the work: processes, threads of each, and messages that a thread leases at once."""

    instances: int = 2
    threads: int = 1
    batch: int = 10


def make_project(folder: Path, layout: Layout) -> Project:
    """Write the demonstration's project into `folder`, which is emptied if an earlier one left it."""
    make_folder(folder)
    return write_project(folder, layout)


def write_project(folder: Path, layout: Layout, files: str = FOLDER, *, compact: bool = True) -> Project:
    """Write the project into a folder that is there; its datasets are in the folder `files`, seen from it.

    Without `compact` nothing is compacted while the job runs.
    """
    changed = {
        "instances = 2": f"instances = {layout.instances}",
        "threads = 1": f"threads = {layout.threads}",
        "batch = 10": f"batch = {layout.batch}",
        'main = "in"': f'main = "{files}"',
    }
    if not compact:
        changed['kind = "series"'] = 'kind = "series"\ncompact = false'
    for source in resources.files("headrace.experiments").joinpath("tags_project").iterdir():
        text = source.read_text("utf-8")
        for before, after in changed.items():
            text = text.replace(before, after)
        (folder / source.name).write_text(text, "utf-8")
    return Project.load(folder / PROJECT_FILE)


# --- the files -------------------------------------------------------------------------------------------


class _Counting(Generator):
    """A generator that counts what it hands out: for each tag points, and sums of their times and values."""

    def __init__(self, tags: int, signals: Sequence[str], seed: int, name: str) -> None:
        super().__init__(tags, signals=signals, seed=seed, name=name)
        self.counts = np.zeros(tags, np.int64)
        self.times = np.zeros(tags, np.int64)
        self.values = np.zeros(tags, np.int64)
        self._met = np.zeros(tags, np.bool_)

    def take(self, points: int) -> Points:
        """Return the next points, counted."""
        taken = super().take(points)
        np.add.at(self.counts, taken.codes, 1)
        np.add.at(self.times, taken.codes, taken.times_us - START_US)
        np.add.at(self.values, taken.codes, _whole(taken.values))
        self._met[taken.codes] = True
        return taken

    def met(self) -> int:
        """Return how many tags points were taken of since this was asked last."""
        met = int(self._met.sum())
        self._met[:] = False
        return met


@dataclass(frozen=True, slots=True)
class Made:
    """The dataset of a tenant as it was made.

    `tags_of_files` counts the tags of each file and adds them up: so often a tag is written. `sums` has for
    each tag how many points it has, and the sums of their times and values.
    """

    tenant: str
    files: int
    size_bytes: int
    tags_of_files: int
    sums: pl.DataFrame

    @property
    def points(self) -> int:
        """How many points there are."""
        return int(self.sums["points"].sum())


def make_files(
    folder: Path,
    tags: int,
    megabytes: float,
    seed: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> list[Made]:
    """Fill `folder` with the datasets of the tenants, which have `tags` tags each and `megabytes` in all."""
    made = []
    size_bytes = 0
    for tenant in TENANTS:
        generator = _Counting(tags, tenant.signals, seed, tenant.name)
        files = own_bytes = tags_of_files = 0
        wanted = max(1, int(megabytes * _MEGABYTE * tenant.share))
        for written in write_dataset(generator, folder, tenant.name, size_bytes=wanted):
            files, own_bytes = files + 1, own_bytes + written.size_bytes
            tags_of_files += generator.met()
            say(f"{(size_bytes + own_bytes) / _MEGABYTE:,.0f} of {megabytes:,.0f} MB")
        size_bytes += own_bytes
        made.append(Made(tenant.name, files, own_bytes, tags_of_files, _sums(generator)))
    return made


def _sums(generator: _Counting) -> pl.DataFrame:
    found = {
        "tag": [guid_text(guid) for guid in generator.guids],
        "points": generator.counts,
        "times": generator.times,
        "values": generator.values,
    }
    return pl.DataFrame(found).filter(pl.col("points") > 0)


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    whole: NDArray[np.int64] = np.rint(values * _SCALE).astype(np.int64)
    return whole


# --- while it runs ---------------------------------------------------------------------------------------


class View(NamedTuple):
    """What is stored of one tenant, or of all, at one moment."""

    files: int = 0
    points: int = 0
    size_bytes: int = 0
    bad: int = 0


@dataclass(slots=True)
class Watcher:
    """Reads from outside, as any other process could, what the job has on record of each file."""

    namespace: Namespace
    clock: Clock
    done: dict[int, FileDone] = field(default_factory=dict)
    began_ns: int = 0

    def __post_init__(self) -> None:
        self.began_ns = self.clock.monotonic_ns()

    def look(self) -> dict[str, View]:
        """Return what is stored of each tenant now."""
        for file in files_done(self.namespace, JOB):  # the last ones only, where there are very many
            self.done[file.message_id] = file
        views = {tenant.name: View() for tenant in TENANTS}
        for file in self.done.values():
            view = views[file.tenant]
            views[file.tenant] = View(
                view.files + 1,
                view.points + file.points,
                view.size_bytes + file.size_bytes,
                view.bad + file.bad,
            )
        return views

    @property
    def at_s(self) -> float:
        """Seconds since it began."""
        return (self.clock.monotonic_ns() - self.began_ns) / 1e9


def total(views: Mapping[str, View]) -> View:
    """Return what all tenants have together."""
    return View(*(sum(own) for own in zip(*views.values(), strict=True)))


# --- the result ------------------------------------------------------------------------------------------


class Times(NamedTuple):
    """What one part of the way of a message took, in milliseconds: the mean, the median and the longest."""

    name: str
    what: str
    mean_ms: float
    median_ms: float
    longest_ms: float


#: The parts of a message's way: their names, what they are, and between which of T1 to T8 they lie.
PARTS: Final = (
    ("T8-T1", "total, from lease to commit", 1, 8),
    ("T2-T1", "  gap: its turn in the batch", 1, 2),
    ("T3-T2", "  read", 2, 3),
    ("T4-T3", "  gap: before parsing", 3, 4),
    ("T5-T4", "  parse", 4, 5),
    ("T6-T5", "  gap: the rest of the batch, sorting", 5, 6),
    ("T7-T6", "  write", 6, 7),
    ("T8-T7", "  gap: commit, message deleted", 7, 8),
)


def stamps_us(done: Sequence[FileDone]) -> NDArray[np.int64]:
    """Return T1 to T8 of messages, a row each, in microseconds since 1970."""
    return np.array([file[-8:] for file in done], np.int64).reshape(-1, 8)


def times_of(done: Sequence[FileDone]) -> list[Times]:
    """Return what the parts of the way took over messages, as the paper's metrics have it, and the gaps."""
    stamps = stamps_us(done)
    found = []
    for name, what, first, last in PARTS:
        took_ms = (stamps[:, last - 1] - stamps[:, first - 1]) / 1e3
        found.append(
            Times(name, what, float(took_ms.mean()), float(np.median(took_ms)), float(took_ms.max()))
        )
    return found


def seconds_of(done: Sequence[FileDone]) -> float:
    """Return the seconds from the first lease to the last commit."""
    return (max(file.t8_us for file in done) - min(file.t1_us for file in done)) / 1e6


class Checked(NamedTuple):
    """What is stored of a tenant beside what was made: points, and tags that have all of theirs, once."""

    made: int
    stored: int
    tags: int
    tags_right: int

    @property
    def right(self) -> bool:
        """Every point is there exactly once."""
        return self.stored == self.made and self.tags_right == self.tags


def check(project: Project, made: Made) -> Checked:
    """Compare all stored points of a tenant with what its generator counted.

    The catalogue says how many points are stored, those stored twice counted twice; reading gives for each
    tag how many there are, and the sums of their times and values.
    """
    with open_series(STORE, project=project.file) as reader:
        if made.tenant not in reader.store.catalogue.tenants():
            return Checked(made.points, 0, made.sums.height, 0)
        stored = reader.totals(made.tenant).points
        read = pl.concat([_summed(frame) for frame in reader.frames("*", tenant=made.tenant)])
    found = read.group_by("tag").sum()
    matched = made.sums.join(found, on=["tag", "points", "times", "values"], how="semi")
    missed = found.join(made.sums, on="tag", how="anti")  # tags that nobody made
    return Checked(made.points, stored, made.sums.height, matched.height - missed.height)


def _summed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by("tag").agg(
        points=pl.len().cast(pl.Int64),
        times=(pl.col("time").dt.epoch("us") - START_US).sum(),
        values=(pl.col("value") * _SCALE).round().cast(pl.Int64).sum(),
    )


class Size(NamedTuple):
    """What a tenant takes on disk, segments and bytes, and what a point does."""

    segments: int
    size_bytes: int
    bytes_per_point: float


def sizes(project: Project) -> dict[str, Size]:
    """Return what each tenant takes on disk."""
    with open_series(STORE, project=project.file) as reader:
        totals = {name: reader.totals(name) for name in reader.store.catalogue.tenants()}
    return {
        name: Size(own.segments, own.size_bytes, own.bytes_per_point or 0.0) for name, own in totals.items()
    }


def compacted(project: Project) -> Iterator[str]:
    """Merge all segments of each tenant, and yield whose are merged."""
    from headrace.series.compaction import compact  # noqa: PLC0415 - optional

    with open_series(STORE, project=project.file, looking=False) as reader:
        for name in reader.store.catalogue.tenants():
            compact(reader.store, name, everything=True)
            yield name
