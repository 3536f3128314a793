"""What the demonstration of tags shows: tenants while it runs; then times, rates, bytes, checks, a curve."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headrace.cli.braille import drawn
from headrace.cli.show import count_text
from headrace.engine.bottleneck import Finding
from headrace.experiments import tags
from headrace.local.series_records import FileDone

#: Told what is stored of each tenant, after how many seconds, and whether that was all.
Show = Callable[[Mapping[str, tags.View], float, bool], None]

REFRESH_HZ: Final = 8
_CURVE_LINES: Final = 8
_MOST_COLUMNS: Final = 110
_RATE_OVER_S: Final = 1.0

_STARTING: Final = "instances start"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the result shows. What is checked, is so before and after compaction."""

    made: Sequence[tags.Made]
    done: Sequence[FileDone]
    layout: tags.Layout
    findings: Sequence[Finding]
    checks: Sequence[tags.Checked]
    checks_compacted: Sequence[tags.Checked]
    before: Mapping[str, tags.Size]
    after: Mapping[str, tags.Size]
    tag: str
    curve: pl.DataFrame
    pictures: Sequence[Path]
    folder: Path
    next_words: Sequence[str]

    @property
    def right(self) -> bool:
        """Every point is there exactly once, also behind compaction."""
        return all(checked.right for checked in (*self.checks, *self.checks_compacted))

    @property
    def rates(self) -> dict[str, float]:
        """Tags, points and megabytes a second, from the first lease to the last commit."""
        seconds = tags.seconds_of(self.done)
        return {
            "tags_per_s": sum(own.tags_of_files for own in self.made) / seconds,
            "points_per_s": sum(file.points for file in self.done) / seconds,
            "megabytes_per_s": sum(file.size_bytes for file in self.done) / seconds / 1e6,
        }

    @property
    def bottleneck(self) -> str | None:
        """Which stage takes the most of the time in which instances work, in one sentence.

        By time that passed: what processors did includes the start of the processes, which a short run is.
        """
        for finding in self.findings:
            busy = sum(rate.share for rate in finding.stages)
            slowest = max(finding.stages, key=lambda rate: rate.share)
            if slowest.share > 0:
                return (
                    f"{slowest.stage} takes {slowest.share / busy:.0%} of the time in which "
                    f"{count_text(finding.instances, 'instance')} worked; "
                    f"alone it could do {finding.rate / slowest.share:,.0f} points/s"
                )
        return None

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "files": len(self.done),
            "points": sum(file.points for file in self.done),
            "seconds": round(tags.seconds_of(self.done), 4),
            **{name: round(rate, 1) for name, rate in self.rates.items()},
            "times_ms": {part.name: round(part.mean_ms, 3) for part in tags.times_of(self.done)},
            "tenants": {
                own.tenant: {
                    "files": own.files,
                    "tags": own.sums.height,
                    "points_made": own.points,
                    "points_stored": checked.stored,
                    "tags_right": checked.tags_right,
                    "bytes_per_point": round(self.before[own.tenant].bytes_per_point, 3),
                    "bytes_per_point_compacted": round(self.after[own.tenant].bytes_per_point, 3),
                }
                for own, checked in zip(self.made, self.checks_compacted, strict=True)
                if own.tenant in self.before
            },
            "exactly_once": self.right,
            "bottleneck": self.bottleneck,
            "tag": self.tag,
            "pictures": [str(path) for path in self.pictures],
            "folder": str(self.folder),
            "next": list(self.next_words),
        }


# --- while it runs ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def progress(made: Sequence[tags.Made], *, hidden: bool) -> Iterator[Show]:
    """Give a function that shows how far tenants are: live on a terminal, a line a second elsewhere."""
    console = Console(stderr=True, quiet=hidden)
    rates = _Rates()
    if console.is_terminal and not hidden:
        with Live(console=console, refresh_per_second=REFRESH_HZ) as live:
            yield lambda views, at_s, ended: live.update(_state(made, views, rates.over(views, at_s), at_s))
        return
    shown_s = [-_RATE_OVER_S]

    def line(views: Mapping[str, tags.View], at_s: float, ended: bool) -> None:
        now = rates.over(views, at_s)
        if at_s - shown_s[0] >= _RATE_OVER_S or ended:
            shown_s[0] = at_s
            console.print(_line(made, views, now, at_s), highlight=False, soft_wrap=True)

    yield line


class _Rates:
    """Points and bytes a second of each tenant over about the last second."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, Mapping[str, tags.View]]] = []

    def over(self, views: Mapping[str, tags.View], at_s: float) -> dict[str, tuple[float, float]]:
        """Return the rates by tenants, with what all do as ``""``."""
        all_views = {**views, "": tags.total(views)}
        self._looks = [look for look in self._looks if at_s - look[0] <= 2 * _RATE_OVER_S]
        self._looks.append((at_s, all_views))
        since_s, earlier = next(
            (look for look in reversed(self._looks) if at_s - look[0] >= _RATE_OVER_S), self._looks[0]
        )
        passed_s = max(at_s - since_s, 1e-3)
        return {
            name: (
                (view.points - earlier[name].points) / passed_s,
                (view.size_bytes - earlier[name].size_bytes) / passed_s / 1e6,
            )
            for name, view in all_views.items()
        }


def _line(
    made: Sequence[tags.Made],
    views: Mapping[str, tags.View],
    rates: Mapping[str, tuple[float, float]],
    at_s: float,
) -> str:
    everything = tags.total(views)
    if not everything.files:
        return f"{at_s:5.1f} s  {_STARTING}"
    each = "  ".join(f"{own.tenant} {views[own.tenant].files}/{own.files}" for own in made)
    return (
        f"{at_s:5.1f} s  files {everything.files} of {sum(own.files for own in made)} ({each})  "
        f"points {everything.points:,}  {rates[''][0]:,.0f} points/s  {rates[''][1]:,.0f} MB/s"
    )


def _state(
    made: Sequence[tags.Made],
    views: Mapping[str, tags.View],
    rates: Mapping[str, tuple[float, float]],
    at_s: float,
) -> Table:
    doing = "files -> queue -> instances -> histories" if tags.total(views).files else _STARTING
    table = Table(title=f"tags: {doing}, {at_s:.1f} s", title_justify="left")
    table.add_column("tenant")
    for name in ("files", "points", "MB", "points/s", "MB/s"):
        table.add_column(name, justify="right")
    rows = [(own.tenant, own.files, views[own.tenant], rates[own.tenant]) for own in made]
    for number, row in enumerate(
        (*rows, ("all", sum(own.files for own in made), tags.total(views), rates[""]))
    ):
        name, files, view, (points_per_s, megabytes_per_s) = row
        table.add_row(
            name,
            f"{view.files} / {files}",
            f"{view.points:,}",
            f"{view.size_bytes / 1e6:,.1f}",
            f"{points_per_s:,.0f}",
            f"{megabytes_per_s:,.1f}",
            end_section=number == len(rows) - 1,
        )
    return table


# --- the result ------------------------------------------------------------------------------------------


def show(report: Report) -> None:
    """Print the result."""
    console = Console()

    def say(line: str = "") -> None:
        console.print(Text(line), soft_wrap=True)

    say()
    _show_times(console, report)
    _show_tenants(console, report)
    points, rates = sum(file.points for file in report.done), report.rates
    layout = report.layout
    say(
        f"{points:,} points of {count_text(len(report.done), 'file')} stored in "
        f"{tags.seconds_of(report.done):.2f} s by {count_text(layout.instances, 'instance')} "
        f"of {count_text(layout.threads, 'thread')}, in batches of {layout.batch}"
    )
    say(
        f"{rates['tags_per_s']:,.0f} tags/s, {rates['points_per_s']:,.0f} points/s, "
        f"{rates['megabytes_per_s']:,.0f} MB/s"
    )
    if report.bottleneck is not None:
        say(f"bottleneck: {report.bottleneck}")
    say(_verdict(report))
    say()
    columns = min(console.width, _MOST_COLUMNS) if console.is_terminal else 100
    for line in drawn(report.tag, report.curve["time"], report.curve["value"], columns, _CURVE_LINES):
        say(line)
    for name, path in zip(("tag", "run"), report.pictures, strict=False):
        say(f"{name + ':':9}{path}")
    say(f"{'project:':9}{report.folder}/headrace.toml, to read and to change")
    say()
    say("to go on:")
    for words in report.next_words:
        say(f"  {words}")


def _verdict(report: Report) -> str:
    if report.right:
        made = sum(own.points for own in report.made)
        return (
            f"every one of the {made:,} points that were made is there exactly once, also behind compaction"
        )
    wrong = [
        f"{own.tenant}: {checked.stored:,} of {checked.made:,} points, "
        f"{checked.tags_right:,} of {checked.tags:,} tags as made{when}"
        for when, all_checked in (("", report.checks), (" behind compaction", report.checks_compacted))
        for own, checked in zip(report.made, all_checked, strict=True)
        if not checked.right
    ]
    return "NOT all points are there exactly once: " + "; ".join(wrong)


def _show_times(console: Console, report: Report) -> None:
    table = Table(title=f"the way of a message, over {len(report.done):,} files (milliseconds)")
    table.add_column("metric", no_wrap=True)
    table.add_column("what")
    for name in ("mean", "median", "longest"):
        table.add_column(name, justify="right")
    for part in tags.times_of(report.done):
        numbers = (f"{number:,.2f}" for number in (part.mean_ms, part.median_ms, part.longest_ms))
        table.add_row(part.name, Text(part.what), *numbers, end_section=part.name == "T8-T1")
    console.print(table)


def _show_tenants(console: Console, report: Report) -> None:
    table = Table(title="what tenants have stored, before and after compaction")
    table.add_column("tenant")
    for name in ("files", "tags", "points", "as made", "segments", "bytes a point"):
        table.add_column(name, justify="right")
    for own, checked in zip(report.made, report.checks_compacted, strict=True):
        before, after = report.before.get(own.tenant), report.after.get(own.tenant)
        if before is None or after is None:
            continue
        table.add_row(
            own.tenant,
            f"{own.files:,}",
            f"{own.sums.height:,}",
            f"{checked.stored:,}",
            "all, once" if checked.right else f"{checked.tags_right:,} tags",
            f"{before.segments:,} -> {after.segments:,}",
            f"{before.bytes_per_point:.2f} -> {after.bytes_per_point:.2f}",
        )
    console.print(table)
