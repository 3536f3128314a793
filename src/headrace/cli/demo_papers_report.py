"""What the demonstration shows: progress while it runs, then the table, the verdict, the times, the plot."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headrace.engine.bottleneck import Finding
from headrace.experiments.papers import (
    WINDOW_EVENTS,
    Verdict,
    View,
    bottleneck,
    judge,
    latest_interval,
)

Show = Callable[[View, int], None]

FIRST_ROWS: Final = 8
FEWEST_TITLE_CHARS: Final = 12
OTHER_COLUMNS_CHARS: Final = 60
REFRESH_HZ: Final = 8
LEAST_SHARE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the result shows."""

    published: int
    views: Sequence[View]
    first_row_s: float | None
    rows: pl.DataFrame
    findings: Sequence[Finding]
    plot: Path | None
    folder: Path

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        verdict, slowest = judge(self.rows), bottleneck(self.findings)
        return {
            "published": self.published,
            "stored": self.rows.height,
            "dead": self.views[-1].dead,
            "first_row_s": self.first_row_s,
            "elapsed_s": self.views[-1].at_s,
            "accuracy": verdict and verdict.best_right,
            "top2": verdict and verdict.best_or_second_right,
            "bottleneck": slowest and f"{slowest[0].job}/{slowest[1].stage}",
            "stages": [
                {"job": finding.job, "stage": rate.stage, "share": round(rate.share, 4)}
                for finding in self.findings
                for rate in finding.stages
            ],
            "plot": self.plot and str(self.plot),
            "folder": str(self.folder),
        }


@contextlib.contextmanager
def progress(*, hidden: bool) -> Iterator[Show]:
    """Give a function that shows the pipeline's state: live on a terminal, a line a second elsewhere."""
    console = Console(stderr=True, quiet=hidden)
    views: list[View] = []
    if console.is_terminal and not hidden:
        with Live(console=console, refresh_per_second=REFRESH_HZ, transient=False) as live:

            def show(view: View, published: int) -> None:
                views.append(view)
                live.update(_state(views, published))

            yield show
    else:
        shown_s = [-1.0]

        def note(view: View, published: int) -> None:
            views.append(view)
            if view.at_s - shown_s[0] >= 1 or view.stored + view.dead >= published:
                shown_s[0] = view.at_s
                console.print(_line(views, published), highlight=False, soft_wrap=True)

        yield note


def _line(views: Sequence[View], published: int) -> str:
    view = views[-1]
    return (
        f"{view.at_s:5.1f} s  in {view.events_in:,}  queued {view.queued:,}  scored {view.scored:,}  "
        f"stored {view.stored:,} of {published:,}  rate {_rate(views):,.0f}/s  "
        f"s/event {_interval(views)}"
    )


def _state(views: Sequence[View], published: int) -> Table:
    view = views[-1]
    table = Table(title="papers: hub -> query -> queue -> instances -> model -> table", title_justify="left")
    for name in ("events in", "queued", "scored", "stored", "rate", f"s/event (last {WINDOW_EVENTS})"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{view.events_in:,}",
        f"{view.queued:,}",
        f"{view.scored:,}",
        f"{view.stored:,} / {published:,}",
        f"{_rate(views):,.0f}/s",
        _interval(views),
    )
    return table


def _interval(views: Sequence[View]) -> str:
    interval = latest_interval(views)
    return "-" if interval is None else f"{interval:.6f}"


def _rate(views: Sequence[View]) -> float:
    """Return rows stored per second over about the last second."""
    last = views[-1]
    earlier = next((view for view in reversed(views) if last.at_s - view.at_s >= 1), views[0])
    return (last.stored - earlier.stored) / max(last.at_s - earlier.at_s, 1e-3)


# --- the result ------------------------------------------------------------------------------------------


def show(report: Report) -> None:
    """Print the result."""
    console = Console()
    console.print()
    _show_rows(console, report.rows)
    verdict = judge(report.rows)
    if verdict is not None:
        _show_verdict(console, verdict)
    _show_times(console, report.findings)
    stored, elapsed_s = report.rows.height, report.views[-1].at_s
    dead = f", {report.views[-1].dead:,} dead letters" if report.views[-1].dead else ""
    console.print(
        f"{stored:,} of {report.published:,} papers stored in {elapsed_s:.1f} s{dead}", highlight=False
    )
    if report.first_row_s is not None:
        console.print(
            f"first row stored {report.first_row_s:.2f} s after the process started", highlight=False
        )
    if report.plot is not None:
        console.print(f"plot:    {report.plot}", highlight=False, soft_wrap=True)
    console.print(
        f"project: {report.folder}/headrace.toml, to read and to change", highlight=False, soft_wrap=True
    )


def _show_rows(console: Console, rows: pl.DataFrame) -> None:
    table = Table(
        title=f"table scimlevents, the first {min(FIRST_ROWS, rows.height)} of {rows.height:,} rows"
    )
    for name in ("id", "class", "bestguess", "secondguess", "title"):
        table.add_column(name, no_wrap=True)
    title_chars = max(FEWEST_TITLE_CHARS, console.width - OTHER_COLUMNS_CHARS)
    for row in rows.head(FIRST_ROWS).iter_rows(named=True):
        title = row["title"] or ""
        shown = title if len(title) <= title_chars else title[: title_chars - 3] + "..."
        cells = [row["id"], row["class"], row["bestguess"], row["secondguess"], shown]
        table.add_row(*[Text(cell or "") for cell in cells])
    console.print(table)


def _show_verdict(console: Console, verdict: Verdict) -> None:
    table = Table(title="who was taken for whom (rows: the authors' class, columns: best guess)")
    table.add_column("class")
    for name in verdict.matrix.classes:
        table.add_column(name, justify="right")
    for name, counts in zip(verdict.matrix.classes, verdict.matrix.counts, strict=True):
        table.add_row(name, *[f"{count:,}" for count in counts])
    console.print(table)
    console.print(
        f"{verdict.documents:,} labelled papers: best guess right {verdict.best_right:.1%}, "
        f"best or second right {verdict.best_or_second_right:.1%}",
        highlight=False,
    )
    console.print()


def _show_times(console: Console, findings: Sequence[Finding]) -> None:
    table = Table(title="where the time went")
    table.add_column("job")
    table.add_column("stage")
    for name in ("share of the time", "could do alone"):
        table.add_column(name, justify="right")
    for finding in findings:
        for rate in finding.stages:
            if rate.share >= LEAST_SHARE:
                table.add_row(finding.job, rate.stage, f"{rate.share:.1%}", f"{rate.rate:,.0f}/s")
    console.print(table)
    slowest = bottleneck(findings)
    if slowest is not None:
        finding, rate = slowest
        console.print(
            f"bottleneck: {rate.stage} of job {finding.job}, which alone could do {rate.rate:,.0f} events/s "
            f"with {finding.instances} {'instance' if finding.instances == 1 else 'instances'}",
            highlight=False,
        )
