"""Plots of experiments, drawn with matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.errors import UserError
from headrace.experiments.papers import WINDOW_EVENTS, View, arrival_times, seconds_per_event


def pyplot() -> Any:
    """Return matplotlib's pyplot, for files alone; raises `UserError` where it is not installed."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional

        mpl.use("Agg")
        from matplotlib import pyplot  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("drawing needs matplotlib: pip install 'headrace[plot]'") from None
    return pyplot


def plot_run(views: Sequence[View], path: Path) -> Path:
    """Draw how the pipeline filled and emptied, and the seconds per event over a sliding window of 20.

    Writes a PNG (or what the suffix of `path` says) and returns its path. Raises `UserError` when matplotlib
    is not installed.
    """
    plt = pyplot()
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 7), layout="constrained")
    times = [view.at_s for view in views]
    for label, values in (
        ("events in the hub", [view.events_in for view in views]),
        ("waiting in the queue", [view.queued for view in views]),
        ("rows in the table", [view.stored for view in views]),
    ):
        above.plot(times, values, label=label, linewidth=1.8)
    above.set(title="The pipeline, from hub to table", xlabel="seconds since the start", ylabel="events")
    above.legend(frameon=False)
    intervals = seconds_per_event(arrival_times(views))
    numbers = range(WINDOW_EVENTS, WINDOW_EVENTS + len(intervals))
    below.plot(numbers, intervals, color="tab:green", linewidth=1.2)
    below.set(
        title="Seconds per event, over a sliding window of 20 events",
        xlabel="event number",
        ylabel="seconds per event",
    )
    if any(value > 0 for value in intervals):
        below.set_yscale("log")
    for axes in (above, below):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
