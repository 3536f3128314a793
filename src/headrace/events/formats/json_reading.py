"""What a fast reader makes of lines."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from headrace.events.formats.byte_positions import Positions


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows in physical columns with the line of each in LINE, and the lines left to the exact reader."""

    frame: pl.DataFrame
    left: Positions
