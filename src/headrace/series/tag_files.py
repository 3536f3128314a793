"""The layout of the paper: a text file for each tag and each thread that writes, to which lines are appended.

It is the baseline that the segments are measured against, and no layout to keep data in. What is appended
stands before the commit that deletes the message, so that a process that dies in between appends the same
lines again; a tag's times are in the order in which files were read; and a thousand tags are a thousand files
to open for each batch.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from headrace.errors import disk_error
from headrace.names import safe_file_stem
from headrace.series.grouping import tag_starts
from headrace.series.points import Points, guid_text


def append_points(folder: Path, line: str, points: Points, guids: Sequence[bytes]) -> int:
    """Append points, which are sorted by tag, to the files of their tags; returns the bytes written.

    `guids` are the tags' 16 bytes in the order in which they stand in `points`; `line` says who writes. A
    line is ``time,value``. Nothing is synced. Raises what `disk_error` gives.
    """
    if not len(points):
        return 0
    text = _text(points)
    ends = np.append(np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1, len(text))
    starts = tag_starts(points.codes)
    begins = [0, *ends[starts[1:] - 1].tolist(), len(text)]
    for place, guid in enumerate(guids):
        path = tag_file(folder, line, guid)
        try:
            with path.open("ab", buffering=0) as file:
                file.write(text[begins[place] : begins[place + 1]])
        except OSError as error:
            raise disk_error(error.errno or 0, path, problem=error.strerror or str(error)) from None
    return len(text)


def tag_file(folder: Path, line: str, guid: bytes) -> Path:
    """Return the file of a tag that a line appends to."""
    return folder / f"{guid_text(guid)}.{safe_file_stem(line)}.csv"


def files_of_tag(folder: Path, guid: bytes) -> list[Path]:
    """Return the files of a tag, of whoever wrote them."""
    return sorted(folder.glob(f"{guid_text(guid)}.*.csv"))


def _text(points: Points) -> memoryview:
    frame = pl.DataFrame({"time": points.times_us, "value": points.values})
    written = io.BytesIO()
    frame.with_columns(pl.col("time").cast(pl.Datetime("us"))).write_csv(
        written, include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ"
    )
    return written.getbuffer()
