"""What ``headrace.toml`` says of series outputs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headrace.limits import CALENDAR_DAYS
from headrace.series.compression_settings import CompressSettings


class SeriesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="series", tag_field="kind"):
    """``kind = "series"``: histories of tags in `folder`, by default the output's name.

    The layout ``segments`` sorts what arrives; the first instance of the job compacts it in the background
    unless `compact` is false, and drops points older than `retention_days`. The layout ``files`` appends to a
    text file for each tag and thread: it is there to be measured, and may double lines when a process dies.
    Points are left out only of tags that a rule of `compress` is for.
    """

    folder: str | None = None
    layout: Literal["segments", "files"] = "segments"
    compact: bool = True
    retention_days: Annotated[float, msgspec.Meta(gt=0, le=CALENDAR_DAYS)] | None = None
    compress: tuple[CompressSettings, ...] = ()

    def __post_init__(self) -> None:
        if self.folder == "":
            raise ValueError("folder: expected the path of a folder")
        if self.layout == "files" and self.retention_days is not None:
            raise ValueError('retention_days: the layout "files" keeps all it has')
        if self.layout == "files" and self.compress:
            raise ValueError('compress: the layout "files" keeps all it has')
