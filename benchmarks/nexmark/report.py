"""What was measured, as tables and as the ratios that Headrace is held to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.nexmark.peers import Run

#: Sizes beyond this are large: Flink is warm there, and has its own goal.
SMALL_EVENTS = 2_000_000

PEAK_MB = 700


@dataclass
class Figure:
    """The runs of one query in one engine; `equal` tells whether its rows are those of the reference."""

    events: int
    query: str
    engine: str
    rows: int = 0
    equal: bool = True
    runs: list[Run] = field(default_factory=list)

    @property
    def wall_s(self) -> float:
        """The median of all seconds of the process."""
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def run_s(self) -> float:
        """The median of the seconds of the run phase."""
        return statistics.median(run.run_s for run in self.runs)

    @property
    def cpu_s(self) -> float:
        """The median of the processor seconds of the whole process."""
        return statistics.median(run.cpu_s for run in self.runs)

    @property
    def run_cpu_s(self) -> float | None:
        """The median of the processor seconds of the run phase, None where they are not known."""
        known = [run.run_cpu_s for run in self.runs if run.run_cpu_s is not None]
        return statistics.median(known) if known else None

    @property
    def peak_mb(self) -> float:
        """The most memory that any run held."""
        return max(run.peak_mb for run in self.runs)


@dataclass(frozen=True)
class Ratio:
    """How a peer's seconds compare with ours, by query: above 1 we are faster. The mean must reach `goal`."""

    name: str
    goal: float | None
    values: dict[str, float]

    @property
    def mean(self) -> float:
        """The geometric mean over the queries."""
        return math.exp(statistics.fmean(map(math.log, self.values.values())))


def _seconds(figures: Iterable[Figure], engine: str, *, wall: bool = False) -> dict[str, float]:
    """Return an engine's seconds by query."""
    return {
        figure.query: figure.wall_s if wall else figure.run_s for figure in figures if figure.engine == engine
    }


def _processor_s(figures: Iterable[Figure], engine: str) -> dict[str, float]:
    """Return an engine's processor seconds in the run phase by query, where they are known."""
    found = ((figure.query, figure.run_cpu_s) for figure in figures if figure.engine == engine)
    return {query: seconds for query, seconds in found if seconds is not None}


def ratios(figures: Sequence[Figure]) -> list[Ratio]:
    """Return the ratios of one size, for the engines that were measured."""
    large = any(figure.events > SMALL_EVENTS for figure in figures)
    ours, our_wall = _seconds(figures, "headrace"), _seconds(figures, "headrace", wall=True)
    our_cpu, flink_wall = _processor_s(figures, "headrace"), _seconds(figures, "flink", wall=True)
    duckdb, polars = _seconds(figures, "duckdb"), _seconds(figures, "polars")
    better = {query: min(polars[query], duckdb[query]) for query in polars.keys() & duckdb.keys()}
    pairs = [
        ("Flink, run phase", 2.7 if large else 5.0, _seconds(figures, "flink"), ours),
        ("Flink, including start-up", None if large else 8.0, flink_wall, our_wall),
        ("bare Polars loop", 0.75, _seconds(figures, "loop"), ours),
        ("the same in processor seconds", None, _processor_s(figures, "loop"), our_cpu),
        ("better of Polars and DuckDB as a batch", 0.35, better, ours),
        ("files, when read from hubs", 0.7, ours, _seconds(figures, "hub")),
        ("the same in processor seconds", None, our_cpu, _processor_s(figures, "hub")),
    ]
    found = [
        Ratio(name, goal, {query: other[query] / own[query] for query in own if query in other})
        for name, goal, other, own in pairs
    ]
    return [ratio for ratio in found if ratio.values]


def tables(figures: Sequence[Figure], rows_read: dict[tuple[int, str], int]) -> str:
    """Return the report of all sizes as Markdown; `rows_read` is by size and query."""
    parts = []
    for events in sorted({figure.events for figure in figures}):
        some = [figure for figure in figures if figure.events == events]
        parts.append(f"## {events:,} events\n\n{_ratio_table(some)}\n\n{_figure_table(some, rows_read)}")
        memory = [figure.peak_mb for figure in some if figure.engine in {"headrace", "hub"}]
        if memory:
            parts.append(f"Peak memory of Headrace: {max(memory):,.0f} MB (goal: under {PEAK_MB}).")
    return "\n\n".join(parts) + "\n"


def _ratio_table(figures: Sequence[Figure]) -> str:
    queries = list(dict.fromkeys(figure.query for figure in figures))
    lines = [
        f"| Headrace beside | goal | geometric mean | {' | '.join(queries)} |",
        f"|---|---|---|{'---|' * len(queries)}",
    ]
    for ratio in ratios(figures):
        cells = (f"{ratio.values[query]:.2f}" if query in ratio.values else "" for query in queries)
        lines.append(f"| {ratio.name} | {ratio.goal or ''} | **{ratio.mean:.2f}** | {' | '.join(cells)} |")
    return "\n".join(lines)


_HEADS = (
    "query",
    "engine",
    "run s (least-most)",
    "all s",
    "processor s in run",
    "processor s",
    "rows/s in run",
    "rows/s in all",
    "peak MB",
    "rows",
)


def _figure_table(figures: Sequence[Figure], rows_read: dict[tuple[int, str], int]) -> str:
    lines = [f"| {' | '.join(_HEADS)} |", "|---" * len(_HEADS) + "|"]
    for figure in figures:
        read_k = rows_read[figure.events, figure.query] / 1000
        seconds = [run.run_s for run in figure.runs]
        cells = (
            figure.query,
            figure.engine,
            f"{figure.run_s:.2f} ({min(seconds):.2f}-{max(seconds):.2f})",
            f"{figure.wall_s:.2f}",
            "" if figure.run_cpu_s is None else f"{figure.run_cpu_s:.2f}",
            f"{figure.cpu_s:.2f}",
            f"{read_k / figure.run_s:,.0f} k",
            f"{read_k / figure.wall_s:,.0f} k",
            f"{figure.peak_mb:,.0f}",
            f"{figure.rows:,}" + ("" if figure.equal else " (DIFFERENT)"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(figures: Sequence[Figure]) -> dict[str, Any]:
    """Return all that was measured, and the ratios, as plain data."""
    sizes = sorted({figure.events for figure in figures})
    return {
        "figures": [asdict(figure) for figure in figures],
        "ratios": {
            events: [
                {**asdict(ratio), "mean": ratio.mean}
                for ratio in ratios([figure for figure in figures if figure.events == events])
            ]
            for events in sizes
        },
    }
