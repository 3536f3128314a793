r"""The proof that a fast reader lost nothing, computed over the bytes of all lines at once.

A schema'd reader turns 1 into "1" in a text column, rounds 9007199254740993 in a float column, and drops
unknown keys and all but one of equal keys, silently. The bytes tell: a colon outside strings ends a key, and
what follows it is the kind of its value. The argument, for lines that the reader took as JSON objects and
typed columns of scalars:

Every cell comes from a key of its own, whose value is not null. So a line has at least as many such keys as
cells; where it has no more, each of them has its cell: none is unknown, none is given twice with two values,
and none stands in a record, since those have no cells. Bit and number columns take nothing but bits and
numbers (the reader raises), so keys whose values are strings have their cells in text columns; where these
are as many as the cells of text columns, those hold nothing else: no number, no bit, no record, no array.
Neither count can make up for that of another line, because each errs in one direction only: what holds for
the sums over all lines holds for each line. So sums are compared, and lines only when those differ.

The sums are told without finding the keys:

- quotes, but for escaped ones, are two for each key, for each string that is a value, and for each in an
  array. A quote too many for the cells is that of a key with null, and nulls are found by their letter, which
  stands in no other value; one that follows no colon, in an array, leaves the sums open;
- colons behind a quote or white space are those of all keys and perhaps some in text: no fewer than the keys,
  and these no fewer than cells and nulls. Where they are more, the colons outside strings are counted;
- strings in arrays would make up for other values in text columns. With as many keys as cells and nulls, an
  array can only be in a text column, whose cell then begins with a bracket.

What is left is

- an integer in a float column: its cell is a whole number. The cells of a line that no number written with
  a point or an exponent accounts for are integers: all whole cells, or none, or the line is not proven;
- a key given twice, one of them null: nulls have no cells. So each null is looked up by its key: the cell of
  that column must be NULL, and no other null of the line may have the key;
- half a surrogate pair, which the reader turns into NUL: lines with surrogate escapes are not proven.

Structs take no wrong types and no unknown keys, but of equal keys they keep the last. There the number of
keys must be that of the fields present. Records and arrays in a line add keys of their own, but their texts
are verbatim: the keys in them are subtracted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.events.batch import ValueType
from headrace.events.formats.json_bits import Mask
from headrace.events.formats.json_fields import Field
from headrace.events.formats.json_keys import Keys, NullKeys, count_keys, count_points, marks, nulls
from headrace.events.formats.json_lines import Bytes, Lines, Positions, after_backslash

#: The type of each column of a frame, and None for names known to be always NULL, which have no column.
Types = Mapping[str, ValueType | None]

_LOWER_U, _LOWER_D = b"ud"

#: Set in small letters and not in capitals.
_CASE_BIT: Final = 0x20

#: Below it every integer is a float of its own.
_EXACT: Final = 2.0**53

#: The share of lines with whole numbers from which on points are counted before each number is looked at.
_MANY: Final = 0.2

_NONE: Final = np.empty(0, np.int64)

_DIGIT: Final = np.isin(np.arange(256), list(b"0123456789"))
_POINT: Final = np.isin(np.arange(256), list(b".eE"))
_SURROGATE_DIGIT: Final = np.isin(np.arange(256), list(b"89abcdefABCDEF"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is proven of the rows that a typed reader made of lines.

    `bad` is the lines that the rows may not hold whole; `integers` is those in which every whole number in a
    float column was written as an integer, and small enough to be one still.
    """

    bad: Mask
    integers: Mask


def judge(lines: Lines, frame: pl.DataFrame, types: Types) -> Verdict:
    """Compare `lines` with the rows of `types` that a typed reader made of them."""
    bad = np.zeros(lines.count, np.bool_)
    held = _Held(frame, [frame[name] for name, type_ in types.items() if type_ is ValueType.TEXT])
    null_keys = _null_keys_beside(held, lines)
    if null_keys is None:
        keys = Keys.of(lines)
        null_keys = NullKeys.of(lines, keys.values[keys.nulls])
        _mark_losses(keys, held, bad)
    if len(null_keys.nulls):
        bad[_misplaced(null_keys, frame, types)] = True
    if lines.escapes and len(surrogates := _surrogates(lines.buffer)):
        bad |= lines.per_line(surrogates) > 0
    integers = np.zeros(lines.count, np.bool_)
    floats = [frame[name].to_numpy() for name, type_ in types.items() if type_ is ValueType.FLOAT]
    if floats:
        _tell_integers(lines, floats, bad, integers)
    return Verdict(bad, integers)


def repeating(lines: Lines, fields: Sequence[Field]) -> Mask:
    """Return which lines give a key twice: they have more keys than fields were read from them."""
    nested = [field.nested for field in fields if field.nested]
    keys = count_keys(lines) - sum(count_keys(texts) for _, texts in nested)
    if keys == sum(np.count_nonzero(field.present) for field in fields):
        return np.zeros(lines.count, np.bool_)
    counts = Keys.of(lines).per_line()
    for rows, texts in nested:
        counts[rows] -= Keys.of(texts).per_line()
    repeats: Mask = counts != np.sum([field.present for field in fields], axis=0)
    return repeats


@dataclass(frozen=True, slots=True)
class _Held:
    """What a typed reader holds: all cells, and those of text columns among them."""

    frame: pl.DataFrame
    texts: Sequence[pl.Series]

    @property
    def cells(self) -> int:
        return _cells(self.frame)

    @property
    def strings(self) -> int:
        return _cells(self.texts)


def _cells(columns: Iterable[pl.Series]) -> int:
    return sum(series.len() - series.null_count() for series in columns)


def _cells_per_row(columns: Iterable[pl.Series], height: int) -> Positions:
    counts = np.zeros(height, np.int64)
    for series in columns:
        counts += series.is_not_null().to_numpy()
    return counts


def _null_keys_beside(held: _Held, lines: Lines) -> NullKeys | None:
    """Return the keys of nulls if every other value has its cell, as sums tell; None if they do not agree."""
    seen = marks(lines)
    missing, odd = divmod(seen.quotes - 2 * (held.cells + held.strings), 2)
    null_keys = NullKeys.of(lines, nulls(lines) if missing else _NONE)
    keys = held.cells + len(null_keys.nulls)
    if odd or missing != len(null_keys.nulls) or not null_keys.ends.all():
        return None
    if seen.colons != keys and count_keys(lines) != keys:
        return None
    if b"[" in lines.joined and any(series.str.starts_with("[").any() for series in held.texts):
        return None
    return null_keys


def _mark_losses(keys: Keys, held: _Held, bad: Mask) -> None:
    """Mark the lines of which a value may have no cell, or one of another type."""
    values, strings = ~keys.nulls, keys.strings
    if np.count_nonzero(values) != held.cells or np.count_nonzero(strings) != held.strings:
        bad |= keys.per_line(values) != _cells_per_row(held.frame, len(bad))
        bad |= keys.per_line(strings) != _cells_per_row(held.texts, len(bad))


def _tell_integers(lines: Lines, columns: Sequence[NDArray[np.float64]], bad: Mask, integers: Mask) -> None:
    """Mark the lines whose whole numbers in float columns were integers, and those where it cannot be told.

    `columns` have NaN for NULL. A line has an integer in them for each cell that no number with a point or an
    exponent accounts for; so all whole cells are integers, or none, or it cannot be told. No number has two
    points, so that where no value is lost, as many points as cells mean that none is an integer.
    """
    suspects = np.flatnonzero(np.any([values == np.floor(values) for values in columns], axis=0) & ~bad)
    if not len(suspects):
        return
    if len(suspects) > _MANY * lines.count and not bad.any() and count_points(lines) == _not_nan(columns):
        return
    floats = np.stack([values[suspects] for values in columns])
    whole = floats == np.floor(floats)
    keys = Keys.of(lines.only(suspects))
    fractions = np.zeros(len(keys.first), np.bool_)
    fractions[_fractions(keys)] = True
    as_integers = np.count_nonzero(~np.isnan(floats), axis=0) - keys.per_line(fractions)
    clear = keys.per_line(keys.unclear) == 0
    small = (np.abs(floats) < _EXACT).all(axis=0, where=whole)
    all_are = small & clear & (as_integers == np.count_nonzero(whole, axis=0))
    integers[suspects[all_are]] = True
    bad[suspects[~all_are & (as_integers != 0)]] = True


def _not_nan(columns: Sequence[NDArray[np.float64]]) -> int:
    return sum(int(np.count_nonzero(~np.isnan(values))) for values in columns)


def _fractions(keys: Keys) -> Positions:
    """Return which keys have a number with a point or an exponent, reading them all a byte at a time."""
    buffer = keys.lines.buffer
    todo = np.flatnonzero(keys.numbers)
    at = keys.values[todo]
    found = []
    while len(todo):
        at += 1
        byte = buffer[at]
        found.append(todo[_POINT[byte]])
        goes_on = _DIGIT[byte]
        todo, at = todo[goes_on], at[goes_on]
    return np.concatenate(found) if found else todo


def _surrogates(buffer: Bytes) -> Positions:
    r"""Return the positions of what looks like ``\ud800`` to ``\udfff``."""
    u = after_backslash(buffer, _LOWER_U, _LOWER_D, fold=_CASE_BIT)
    found: Positions = u[_SURROGATE_DIGIT[buffer[u + 2]]]
    return found


def _misplaced(null_keys: NullKeys, frame: pl.DataFrame, types: Types) -> Positions:
    """Return the lines with a null whose key is unknown, written with escapes, or given twice."""
    of_line = np.searchsorted(null_keys.lines.ends, null_keys.nulls)
    unknown = np.ones(len(of_line), np.bool_)
    bad: list[Positions] = []
    for name, type_ in types.items():
        if '"' in name or "\\" in name:  # written with escapes, or it would be another
            continue
        found = null_keys.of_name(name)
        unknown[found] = False
        of = of_line[found]
        bad.append(of[1:][of[1:] == of[:-1]])
        if type_ is not None:
            bad.append(of[frame[name].is_not_null().to_numpy()[of]])
    return np.concatenate([*bad, of_line[unknown]])
