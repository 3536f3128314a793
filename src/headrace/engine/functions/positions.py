"""Lengths, positions and parts of text, counted in UTF-16 units as T-SQL does.

A character outside the Basic Multilingual Plane (an emoji, say) counts as two; a part that cuts one in half
gets U+FFFD for that half. Where no text holds such a character (`wide` is false, the usual case) units are
characters, and Polars counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from headrace.engine.rows import aligned, mapped

#: Matches each character that takes two UTF-16 units.
WIDE_CHARACTER: Final = r"[\x{10000}-\x{10FFFF}]"

#: No text is as long; arithmetic on positions stays in range.
FAR: Final = 2**40


def units(text: pl.Expr, *, wide: bool) -> pl.Expr:
    """Return the length of `text`."""
    length = text.str.len_chars().cast(pl.Int64)
    return length + text.str.count_matches(WIDE_CHARACTER).cast(pl.Int64) if wide else length


def position(text: pl.Expr, byte: pl.Expr, *, wide: bool) -> pl.Expr:
    """Return the position, from 1, of the character that begins at `byte`; NULL where that is NULL."""
    before = text.cast(pl.Binary).bin.slice(pl.lit(0), byte).cast(pl.String)
    return pl.when(byte.is_not_null()).then(units(before, wide=wide) + 1)


def part(text: pl.Expr, start: pl.Expr, length: pl.Expr, *, wide: bool) -> pl.Expr:
    """Return `length` units of `text` from `start`, which counts from 0; negative numbers count as 0."""
    start, length = start.clip(0, FAR), length.clip(0, FAR)
    if not wide:
        # A length of NULL would mean the rest of the text.
        return pl.when(start.is_not_null() & length.is_not_null()).then(text.str.slice(start, length))
    return mapped([text, start, length], _parts, pl.String())


def _parts(arguments: Sequence[pl.Series]) -> pl.Series:
    rows = aligned(arguments)
    plain = rows.select(part(pl.col("0"), pl.col("1"), pl.col("2"), wide=False)).to_series()
    wide = rows["0"].str.contains(WIDE_CHARACTER).fill_null(value=False)
    places = wide.arg_true()
    if not len(places):
        return plain
    cut = [_cut(*row) for row in rows.filter(wide).iter_rows()]
    return plain.scatter(places, pl.Series(cut, dtype=pl.String()))


def _cut(text: str, start: int | None, length: int | None) -> str | None:
    if start is None or length is None:
        return None
    return text.encode("utf-16-le")[2 * start : 2 * (start + length)].decode("utf-16-le", "replace")


def unit_position(text: str, character: int) -> int:
    """Return the position, from 1, of the character with that index in `text`."""
    return len(text[:character].encode("utf-16-le")) // 2 + 1
