"""The two experiments of the second seed system: a number of cores cut into instances, and more instances.

All run over the same files; messages are sent once all instances wait for them, so that no start is measured,
and nothing is compacted meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from headrace.clock import Clock
from headrace.errors import DataError
from headrace.experiments.plots import pyplot
from headrace.experiments.tags import (
    FOLDER,
    JOB,
    Layout,
    Made,
    Times,
    Watcher,
    check,
    seconds_of,
    times_of,
    total,
    write_project,
)
from headrace.local.progress import Progress
from headrace.project.datasets import open_enqueuer
from headrace.project.running import Run, run_of

#: What twice the instances brought in the paper, for 32 and for 64 of them.
PAPER_FACTORS: Final = {32: 1.55, 64: 1.47}

#: The experiments, as the paper calls them.
CONSTANT_CORES: Final = "constant total cores"
MORE_INSTANCES: Final = "increasing instances"

PATIENCE_S: Final = 120.0
_LOOK_EVERY_S: Final = 0.05


class Point(NamedTuple):
    """A layout that is measured, and in which experiment."""

    experiment: str
    layout: Layout


@dataclass(frozen=True, slots=True)
class Measured:
    """What a layout came to: the fastest of its runs, as others on the machine only slow it down."""

    point: Point
    seconds: float
    tags_per_s: float
    points_per_s: float
    times: Sequence[Times]
    factor: float | None = None


def points_of(cores: int, batch: int) -> list[Point]:
    """Return what is measured on so many cores: instances double in both experiments."""
    counts = [1 << power for power in range(cores.bit_length()) if 1 << power <= cores]
    cut = [
        Point(CONSTANT_CORES, Layout(count, cores // count, batch)) for count in counts if not cores % count
    ]
    return cut + [Point(MORE_INSTANCES, Layout(count, 1, batch)) for count in counts]


def measure(
    folder: Path,
    made: Sequence[Made],
    points: Sequence[Point],
    repeats: int,
    clock: Clock,
    say: Callable[[str], None],
) -> list[Measured]:
    """Run each layout `repeats` times over the datasets in ``folder/in``, in turn, so that noise meets all.

    Each run has a project in a folder of its own, and is checked: raises `DataError` when a point is missing
    or is there twice.
    """
    layouts = list(dict.fromkeys(point.layout for point in points))
    runs: dict[Layout, list[tuple[float, Sequence[Times]]]] = {layout: [] for layout in layouts}
    for number in range(repeats):
        for layout in layouts:
            say(f"run {number + 1} of {repeats}: {layout.instances} x {layout.threads}")
            own = folder / f"run-{layout.instances}x{layout.threads}-{number + 1}"
            own.mkdir()
            runs[layout].append(_run(own, made, layout, clock))
    written = sum(own.tags_of_files for own in made)
    stored = sum(own.points for own in made)
    found: list[Measured] = []
    for point in points:
        seconds, times = min(runs[point.layout], key=lambda run: run[0])
        earlier = found[-1] if found and found[-1].point.experiment == point.experiment else None
        factor = earlier.seconds / seconds if earlier is not None else None
        found.append(Measured(point, seconds, written / seconds, stored / seconds, times, factor))
    return found


def _run(folder: Path, made: Sequence[Made], layout: Layout, clock: Clock) -> tuple[float, Sequence[Times]]:
    project = write_project(folder, layout, f"../{FOLDER}", compact=False)
    with run_of(project, [JOB]) as running:
        running.start()
        _until(running, clock, lambda: _all_wait(running, layout.instances))
        for _ in open_enqueuer(project, running.namespace, "readings").enqueue():
            pass
        watcher = Watcher(running.namespace, clock)
        files = sum(own.files for own in made)
        _until(running, clock, lambda: total(watcher.look()).files >= files)
    wrong = [own.tenant for own in made if not check(project, own).right]
    if wrong:
        raise DataError(f"not every point of {', '.join(wrong)} is there exactly once, see {folder}")
    done = list(watcher.done.values())
    return seconds_of(done), times_of(done)


def _all_wait(running: Run, instances: int) -> bool:
    states = Progress(running.namespace).instances(JOB)
    # Time is counted as idle by threads that have asked for messages, and so are ready.
    return sum(bool(state.counters.get("idle_ms")) for state in states) >= instances


def _until(running: Run, clock: Clock, done: Callable[[], bool]) -> None:
    began_ns = clock.monotonic_ns()
    while not done():
        if running.watch() or clock.monotonic_ns() - began_ns > PATIENCE_S * 1e9:
            raise DataError("the job does not go on; what it said is above")
        clock.sleep(_LOOK_EVERY_S)


def plot_scaling(found: Sequence[Measured], path: Path) -> Path:
    """Draw tags a second of both experiments, with what the paper's scale factors would give.

    Writes a PNG or SVG, by the suffix of `path`. Raises `UserError` when matplotlib is not installed.
    """
    plt = pyplot()
    figure, sides = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for axes, experiment, colour in zip(
        sides, (CONSTANT_CORES, MORE_INSTANCES), ("#3d78a8", "#4f8a3c"), strict=True
    ):
        own = [each for each in found if each.point.experiment == experiment]
        layouts = [each.point.layout for each in own]
        names = [f"{layout.instances} x {layout.threads}" for layout in layouts]
        rates = [each.tags_per_s for each in own]
        bars = axes.bar(names, rates, 0.6, color=colour)
        labels = [f"{rate:,.0f}" for rate in rates]
        axes.bar_label(bars, labels, label_type="center", color="white", fontsize=10)
        if experiment == MORE_INSTANCES and rates:
            for style, (instances, factor) in zip(("--", ":"), PAPER_FACTORS.items(), strict=True):
                told = f"paper, {factor} for each doubling (to {instances})"
                expected = [rates[0] * factor**number for number in range(len(rates))]
                axes.plot(names, expected, style, color="#b0413e", label=told)
            axes.legend(frameon=False, fontsize=8, loc="upper left")
        axes.set(title=experiment, xlabel="instances x threads of each")
        axes.margins(y=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    sides[0].set_ylabel("tags a second")
    sides[0].yaxis.set_major_formatter("{x:,.0f}")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
