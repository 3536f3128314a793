"""Pictures of jobs over sensor files, drawn with matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from headrace.experiments.plots import pyplot
from headrace.experiments.tags import stamps_us
from headrace.local.series_records import FileDone

#: The parts of a message's way that are drawn: name, between which of T1 to T8, colour.
_PARTS: Final = (
    ("waiting in the batch", 1, 8, "#e4e0d6"),
    ("read", 2, 3, "#3d78a8"),
    ("parse", 4, 5, "#4f8a3c"),
    ("write", 6, 7, "#d08a2e"),
    ("commit", 7, 8, "#b0413e"),
)

_BAR_HEIGHT: Final = 0.8


def plot_files(done: Sequence[FileDone], path: Path) -> Path:
    """Draw the way of each message from its lease to its commit, one below the other, by thread.

    Writes a PNG (or what the suffix of `path` says) and returns its path. Raises `UserError` when matplotlib
    is not installed.
    """
    plt = pyplot()
    files = sorted(done, key=lambda file: (file.line, file.t2_us))
    stamps_ms = (stamps_us(files) - min(file.t1_us for file in files)) / 1e3
    figure, axes = plt.subplots(figsize=(10, 2.2 + min(9.0, 0.16 * len(files))), layout="constrained")
    for name, first, last, colour in _PARTS:
        starts, ends = stamps_ms[:, first - 1], stamps_ms[:, last - 1]
        axes.barh(range(len(files)), ends - starts, _BAR_HEIGHT, left=starts, color=colour, label=name)
    lines = [file.line for file in files]
    for line in dict.fromkeys(lines):
        row = lines.index(line)
        if row:
            axes.axhline(row - 0.5, color="#8a8577", linewidth=0.8, linestyle=":")
        _, instance, thread = line.split("/")
        axes.text(
            1.005,
            row - 0.4,
            f"{instance}\n{thread}",
            transform=axes.get_yaxis_transform(),
            va="top",
            fontsize=8,
        )
    axes.set_yticks(range(len(files)), [file.tenant for file in files], fontsize=7)
    axes.set_ylim(len(files) - 0.4, -0.6)
    axes.set_title("From the lease of a file's message (T1) to the commit that deletes it (T8)", loc="left")
    axes.set_xlabel("milliseconds since the first lease")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=len(_PARTS), loc="upper left", bbox_to_anchor=(0, -0.12))
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
