"""What was measured, as tables and beside the goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.tags.ways import WAYS, Run

#: Points of a second by one core, of pyarrow's and of the compiled parser, ...
LEAST_RATES = {"headrace": 3e6, "headrace-compiled": 7e6}
#: ... the share of that with ten times as many tags, and what a second instance is to bring.
LEAST_OF_MANY_TAGS = 0.7
LEAST_OF_TWO = 1.6


@dataclass
class Figure:
    """The runs of one way over files with so many tags."""

    tags: int
    way: str
    runs: list[Run] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The points of a second of the run phase, the median."""
        return statistics.median(run.points / run.run_s for run in self.runs)

    @property
    def best(self) -> float:
        """The points of a second in the run that was disturbed least."""
        return max(run.points / run.run_s for run in self.runs)

    @property
    def cpu_rate(self) -> float:
        """The points of a processor second of the run phase, the median."""
        return statistics.median(run.points / run.run_cpu_s for run in self.runs)

    @property
    def whole_rate(self) -> float:
        """The points of a second of the whole process, the median."""
        return statistics.median(run.points / run.wall_s for run in self.runs)


def table(figures: Sequence[Figure]) -> str:
    """Return a table for each number of tags."""
    return "\n".join(
        _table(tags, [figure for figure in figures if figure.tags == tags])
        for tags in dict.fromkeys(figure.tags for figure in figures)
    )


def _table(tags: int, figures: Iterable[Figure]) -> str:
    lines = [
        f"\n{tags:,} tags\n",
        "| | points/s | best | per CPU s | with start-up | synced | bytes/point | files | peak MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        way, last = WAYS[figure.way], figure.runs[-1]
        rates = (figure.rate, figure.best, figure.cpu_rate, figure.whole_rate)
        kept = f"{last.size_bytes / last.points:.2f} | {last.files:,}" if last.files else " | "
        lines.append(
            f"| {way.name} | {' | '.join(f'{rate / 1e6:.2f} M' for rate in rates)} "
            f"| {'yes' if way.durable else ''} | {kept} | {max(run.peak_mb for run in figure.runs):.0f} |"
        )
    return "\n".join(lines)


def goals(figures: Sequence[Figure]) -> list[str]:
    """Return each goal with what was reached, as far as it was measured."""
    rates = {(figure.way, figure.tags): figure.rate for figure in figures}
    sizes = sorted({figure.tags for figure in figures})
    lines = []
    for way, least in LEAST_RATES.items():
        few, many = rates.get((way, sizes[0])), rates.get((way, sizes[-1]))
        if few:
            lines.append(_goal(f"{way}, {sizes[0]:,} tags, M points/s", few / 1e6, least / 1e6))
        if few and many and len(sizes) > 1:
            lines.append(_goal(f"{way}, {sizes[-1]:,} tags, share of that", many / few, LEAST_OF_MANY_TAGS))
    for tags in sizes:
        one, two = rates.get(("headrace-free", tags)), rates.get(("headrace-two", tags))
        if one and two:
            lines.append(_goal(f"two instances, {tags:,} tags, times one", two / one, LEAST_OF_TWO))
    return lines


def _goal(what: str, found: float, least: float) -> str:
    return f"- {what}: {found:.2f} (goal {least:g}){'' if found >= least else ', missed'}"


def as_json(figures: Sequence[Figure]) -> list[Mapping[str, object]]:
    """Return all runs."""
    return [
        {"tags": figure.tags, "way": figure.way, "runs": [vars(run) for run in figure.runs]}
        for figure in figures
    ]
