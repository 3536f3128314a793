r"""The proof that a fast reader lost nothing, computed over the bytes of all lines at once.

A schema'd reader turns 1 into "1" in a text column, rounds 9007199254740993 in a float column, and drops
unknown keys and all but one of equal keys, silently. The bytes tell: inside a string no quote is unescaped,
so an unescaped quote followed by a colon ends a key, always; and the first byte after the colon is the kind
of its value. So count the values of each kind in the bytes, count the cells of each kind in the columns, and
compare.

Why equal counts suffice, for typed columns: every cell comes from a key of its own, whose value is not null.
Bit and number columns take nothing but bits and numbers (the reader raises), so equal counts there mean that
each bit and number is in such a column, and no records and arrays that there are none. Then the cells of text
columns can only come from strings, and an equal count means that every string is there too. What is left is

- white space between a quote and its colon, which would hide a key: every string is a key or the value of
  one, so the quotes are twice their number, or the line is not proven;
- an integer in a float column: its cell is a whole number. The cells of a line that no number written with
  a point or an exponent accounts for are integers: all whole cells, or none, or the line is not proven;
- a key given twice, the second time with null: nulls have no cells. So each null is looked up by its key: the
  cell of that column must be NULL, and no other null of the line may have the key;
- half a surrogate pair, which the reader turns into NUL: lines with surrogate escapes are not proven.

Structs take no wrong types and no unknown keys, but of equal keys they keep the last. There the number of
keys must be that of the fields present. Records and arrays in a line add keys of their own, but their texts
are verbatim: what is counted in them is subtracted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.events.batch import ValueType
from headrace.events.formats.json_fields import Field
from headrace.events.formats.json_lines import CHUNK_BYTES, Bytes, Lines, Positions, escaped_quotes, positions

Mask = NDArray[np.bool_]

#: Kinds of values, told by their first byte.
OTHER, TEXT, NUMBER, BIT, NULL, RECORD, ARRAY = range(7)
_KINDS: Final = 7

_KIND_OF_BYTE: Final = np.zeros(256, np.uint8)
for _characters, _kind in (
    (b'"', TEXT), (b"-0123456789", NUMBER), (b"tf", BIT), (b"n", NULL), (b"{", RECORD), (b"[", ARRAY),
):  # fmt: skip
    _KIND_OF_BYTE[list(_characters)] = _kind

_PLANE_KIND: Final = {
    ValueType.TEXT: TEXT,
    ValueType.BIGINT: NUMBER,
    ValueType.FLOAT: NUMBER,
    ValueType.BIT: BIT,
}

_QUOTE, _BACKSLASH, _COLON, _SPACE, _LOWER_U, _LOWER_D = b'"\\: ud'

#: Below it every integer is a float of its own.
_EXACT: Final = 2.0**53

_DIGIT: Final = np.isin(np.arange(256), list(b"0123456789"))
_POINT: Final = np.isin(np.arange(256), list(b".eE"))
_SURROGATE_DIGIT: Final = np.isin(np.arange(256), list(b"89abcdefABCDEF"))


@dataclass(frozen=True, slots=True)
class Survey:
    """Where keys end, where their values begin and with which byte; and what was met on the way."""

    lines: Lines
    slashes: Positions
    escaped: Positions
    keys: Positions
    values: Positions
    first: Bytes
    quotes: int

    def of_kind(self, kind: int) -> Mask:
        """Return which keys have values of a kind."""
        mask: Mask = _KIND_OF_BYTE[self.first] == kind
        return mask

    def totals(self) -> Positions:
        """Return the number of values of each kind, then the number of quotes."""
        by_byte = np.bincount(self.first, minlength=256)
        by_kind = np.bincount(_KIND_OF_BYTE, weights=by_byte, minlength=_KINDS)
        return np.append(by_kind, self.quotes).astype(np.int64)

    def per_line(self) -> Positions:
        """Return the same for each line: one row a line."""
        quotes = np.setdiff1d(positions(self.lines.buffer, _QUOTE), self.escaped, assume_unique=True)
        of_kinds = [self.keys[self.of_kind(kind)] for kind in range(_KINDS)]
        return np.stack([self.lines.per_line(places) for places in (*of_kinds, quotes)], axis=1)


def survey(lines: Lines) -> Survey:
    """Find every key of `lines` and the first byte of its value."""
    buffer = lines.buffer
    slashes = positions(buffer, _BACKSLASH) if b"\\" in lines.joined else np.empty(0, np.int64)
    escaped = escaped_quotes(buffer, slashes)
    begins = range(0, buffer.size, CHUNK_BYTES)
    places = np.searchsorted(escaped, [*begins, buffer.size])
    found: list[Positions] = []
    quotes = 0
    for begin, first, last in zip(begins, places[:-1], places[1:], strict=True):
        chunk = buffer[begin : begin + CHUNK_BYTES + 1]
        mask = chunk == _QUOTE
        mask[escaped[first:last] - begin] = False
        quotes += int(np.count_nonzero(mask[:CHUNK_BYTES]))
        found.append(np.flatnonzero(mask[:-1] & (chunk[1:] == _COLON)) + begin)
    keys = np.concatenate(found)
    values = keys + 2
    value = buffer.take(values, mode="clip")
    spaced = value == _SPACE
    if spaced.any():
        values += spaced
        value = buffer.take(values, mode="clip")
    return Survey(lines, slashes, escaped, keys, values, value, quotes)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is proven of the rows that a typed reader made of lines.

    `bad` is the lines that the rows may not hold whole; `integers` is those in which every whole number in a
    float column was written as an integer, and small enough to be one still.
    """

    bad: Mask
    integers: Mask


def judge(lines: Lines, frame: pl.DataFrame, schema: Mapping[str, ValueType | None]) -> Verdict:
    """Compare `lines` with the rows that a typed reader made of them.

    `schema` gives the type of each column of `frame`, and None for names known to be always NULL, which have
    no column.
    """
    seen = survey(lines)
    bad = np.zeros(lines.count, np.bool_)
    totals = seen.totals()
    if not _agree(totals[np.newaxis], _cells(frame, schema)[np.newaxis]).all():
        bad |= ~_agree(seen.per_line(), _cells_per_row(frame, schema))
    if len(seen.slashes):
        bad |= lines.per_line(_surrogates(seen)) > 0
    if totals[NULL]:
        bad[_misplaced_nulls(seen, frame, schema)] = True
    integers = np.zeros(lines.count, np.bool_)
    floats = [frame[name] for name, plane in schema.items() if plane is ValueType.FLOAT]
    if floats:
        _tell_integers(seen, np.stack([values.to_numpy() for values in floats]), bad, integers)
    return Verdict(bad, integers)


def repeating(lines: Lines, fields: Sequence[Field]) -> Mask:
    """Return which lines may give a key twice: they have more keys than fields were read from them."""
    outer = survey(lines)
    inner = [(field.nested[0], survey(field.nested[1])) for field in fields if field.nested]
    totals = outer.totals() - sum(seen.totals() for _, seen in inner)
    present = sum(np.count_nonzero(field.present) for field in fields)
    if totals[:_KINDS].sum() == present and _strings_all_counted(totals[np.newaxis]).all():
        return np.zeros(lines.count, np.bool_)
    counts = outer.per_line()
    for rows, seen in inner:
        counts[rows] -= seen.per_line()
    present_per_line = np.sum([field.present for field in fields], axis=0)
    bad: Mask = counts[:, :_KINDS].sum(axis=1) != present_per_line
    return bad | ~_strings_all_counted(counts)


def _agree(counted: Positions, cells: Positions) -> Mask:
    """Return in which rows of counts values and cells are as many, and no key is hidden."""
    agree = _strings_all_counted(counted)
    for kind in (OTHER, TEXT, NUMBER, BIT, RECORD, ARRAY):
        agree &= counted[:, kind] == cells[:, kind]
    return agree


def _strings_all_counted(counted: Positions) -> Mask:
    """Return where every string is a key or the value of one, so that no white space hides a key."""
    mask: Mask = counted[:, _KINDS] == 2 * (counted[:, :_KINDS].sum(axis=1) + counted[:, TEXT])
    return mask


def _cells(frame: pl.DataFrame, schema: Mapping[str, ValueType | None]) -> Positions:
    """Return the number of cells of each kind."""
    counts = np.zeros(_KINDS, np.int64)
    for name, plane in schema.items():
        if plane is not None:
            counts[_PLANE_KIND[plane]] += frame.height - frame[name].null_count()
    return counts


def _cells_per_row(frame: pl.DataFrame, schema: Mapping[str, ValueType | None]) -> Positions:
    """Return the same for each row of `frame`."""
    counts = np.zeros((frame.height, _KINDS), np.int64)
    for name, plane in schema.items():
        if plane is not None:
            counts[:, _PLANE_KIND[plane]] += frame[name].is_not_null().to_numpy()
    return counts


def _tell_integers(seen: Survey, floats: NDArray[np.float64], bad: Mask, integers: Mask) -> None:
    """Mark the lines whose whole numbers in float columns were integers, and those where it cannot be told.

    `floats` is a row a column, with NaN for NULL. A line has an integer in them for each cell that no number
    with a point or an exponent accounts for; so all whole cells are integers, or none, or it cannot be told.
    """
    whole = floats == np.floor(floats)
    suspects = np.flatnonzero(whole.any(axis=0))
    if not len(suspects):
        return
    floats, whole = floats[:, suspects], whole[:, suspects]
    as_integers = np.count_nonzero(~np.isnan(floats), axis=0) - _fractions_in(seen, suspects)
    small = (np.abs(floats) < _EXACT).all(axis=0, where=whole)
    all_are = small & (as_integers == np.count_nonzero(whole, axis=0))
    integers[suspects[all_are]] = True
    bad[suspects[~all_are & (as_integers != 0)]] = True


def _fractions_in(seen: Survey, lines: Positions) -> Positions:
    """Return how many numbers with a point or an exponent each of `lines` has."""
    ends = np.searchsorted(seen.keys, seen.lines.ends)
    lengths = np.diff(ends, prepend=0)[lines]
    line_of = np.repeat(np.arange(len(lines)), lengths)
    keys = np.arange(len(line_of)) + np.repeat(ends[lines] - np.cumsum(lengths), lengths)
    return np.bincount(line_of[_fractions(seen, keys)], minlength=len(lines))


def _fractions(seen: Survey, keys: Positions) -> Mask:
    """Return which of `keys` have a number with a point or an exponent, reading them all a byte at a time."""
    buffer = seen.lines.buffer
    fractions = np.zeros(len(keys), np.bool_)
    todo = np.flatnonzero(_KIND_OF_BYTE[seen.first[keys]] == NUMBER)
    at = seen.values[keys[todo]]
    while len(todo):
        at += 1
        byte = buffer[at]
        fractions[todo[_POINT[byte]]] = True
        goes_on = _DIGIT[byte]
        todo, at = todo[goes_on], at[goes_on]
    return fractions


def _surrogates(seen: Survey) -> Positions:
    r"""Return the positions of what looks like ``\ud800`` to ``\udfff``."""
    buffer = seen.lines.buffer
    u = seen.slashes[buffer[seen.slashes + 1] == _LOWER_U] + 1
    found: Positions = u[((buffer[u + 1] | 0x20) == _LOWER_D) & _SURROGATE_DIGIT[buffer[u + 2]]]
    return found


def _misplaced_nulls(seen: Survey, frame: pl.DataFrame, schema: Mapping[str, ValueType | None]) -> Positions:
    """Return the lines with a null whose key is unknown, written with escapes, or given twice."""
    buffer = seen.lines.buffer
    todo = seen.keys[seen.of_kind(NULL)]
    bad: list[Positions] = []
    for length, names in _by_length(schema).items():
        begins = todo - length
        opened = (buffer[begins - 1] == _QUOTE) & (buffer[begins - 2] != _BACKSLASH)
        candidates = np.flatnonzero(opened)
        spelled = buffer[begins[candidates, np.newaxis] + np.arange(length)]
        known = np.zeros(len(todo), np.bool_)
        for name in names:
            found = candidates[(spelled == np.frombuffer(name.encode(), np.uint8)).all(axis=1)]
            known[found] = True
            lines = np.searchsorted(seen.lines.ends, todo[found])
            bad.append(lines[1:][lines[1:] == lines[:-1]])
            if schema[name] is not None:
                bad.append(lines[frame[name].is_not_null().to_numpy()[lines]])
        todo = todo[~known]
    return np.concatenate([*bad, np.searchsorted(seen.lines.ends, todo)])


def _by_length(names: Iterable[str]) -> dict[int, list[str]]:
    """Return the names that JSON writes without escapes by how many bytes they take."""
    grouped: dict[int, list[str]] = {}
    for name in names:
        if '"' not in name and "\\" not in name:
            grouped.setdefault(len(name.encode()), []).append(name)
    return grouped
