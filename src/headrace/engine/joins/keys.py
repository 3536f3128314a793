"""The keys of a join: which rows of two sides have equal keys, as ``=`` says.

NULL equals nothing; numbers compare by value, whatever their types, and a bit counts as 0 or 1; a text
beside a number, bit or datetime is read as one (see `functions.comparisons`). So each pair of types that
occurs is a join of its own, on columns read as one type; nearly always there is only one.

Where ``=`` fails for two values (a text that is no number, a record, a datetime beside a number) their rows
meet as if their keys were equal, in a `Meeting` that is not `decided`: evaluating the equality then tells
what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import polars as pl

from headrace.engine.equality import canonical
from headrace.engine.expressions import Planes, evaluate
from headrace.events.batch import DTYPES, Batch, ValueType
from headrace.sql.plan import Cast, ColumnRef

BIT, BIGINT, FLOAT, TEXT = ValueType.BIT, ValueType.BIGINT, ValueType.FLOAT, ValueType.TEXT
DATETIME = ValueType.DATETIME

#: Types whose values are equal, or not, to every other value of the type.
_COMPARABLE: Final = (BIT, BIGINT, FLOAT, TEXT, DATETIME)

_TEXTS: Final = "texts"

#: Texts read as another type, where they can be.
_CASTS: Final = {type_: Cast(ColumnRef(_TEXTS), type_, safe=True) for type_ in (BIT, BIGINT, FLOAT, DATETIME)}


@dataclass(frozen=True, slots=True)
class Reading:
    """How the values of one type are taken: as those of the type `as_`, or as all the same where it is None.

    Without `fits` it is about the values that cannot be read as `as_`; they are all the same, too.
    """

    type: ValueType
    as_: ValueType | None = None
    fits: bool = True

    @property
    def decided(self) -> bool:
        """Whether the values are told apart."""
        return self.as_ is not None and self.fits


@dataclass(frozen=True, slots=True)
class Meeting:
    """How each key is read on either side where rows of certain types meet."""

    left: tuple[Reading, ...]
    right: tuple[Reading, ...]

    @property
    def decided(self) -> bool:
        """Whether the columns that `Keys` gives are equal just where the keys are."""
        return all(reading.decided for reading in (*self.left, *self.right))


class Keys:
    """The values of the key expressions in the rows of one side."""

    def __init__(self, keys: Sequence[Planes], height: int, script: str) -> None:
        self._keys = [canonical(planes) for planes in keys]
        self._script = script
        self.height = height
        self._texts: dict[tuple[int, ValueType], Planes] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def types(self, key: int) -> list[ValueType]:
        """Return the types that occur among the values of a key; floats are those that are not whole."""
        return list(self._keys[key])

    def columns(self, readings: Sequence[Reading]) -> list[pl.Series]:
        """Return a column for each key, NULL in the rows that the reading is not about."""
        return [self._column(key, reading) for key, reading in enumerate(readings)]

    def _column(self, key: int, reading: Reading) -> pl.Series:
        values = self._keys[key][reading.type]
        if reading.as_ is None:
            return _all_the_same(values.is_not_null())
        if not reading.fits:
            read = self._read_texts(key, reading.as_).values()
            unread = [values.is_not_null(), *(plane.is_null() for plane in read)]
            return _all_the_same(pl.select(pl.all_horizontal(unread)).to_series())
        if reading.as_ is reading.type:
            return values
        if reading.type is BIT:
            return values.cast(pl.Int64)
        missing = pl.Series([None], dtype=DTYPES[reading.as_]).new_from_index(0, self.height)
        return self._read_texts(key, reading.as_).get(reading.as_, missing)

    def _read_texts(self, key: int, type_: ValueType) -> Planes:
        """Return the texts of a key read as a type, where they can be; a number as whatever number it is."""
        if (key, type_) not in self._texts:
            wanted = [BIGINT, FLOAT] if type_ in {BIGINT, FLOAT} else [type_]
            empty = Batch(pl.DataFrame(height=self.height), ())
            texts = empty.with_column(_TEXTS, {TEXT: self._keys[key][TEXT]})
            found = evaluate([_CASTS[to] for to in wanted], texts, self._script)
            read = {to: plane for planes in found for to, plane in planes.items()}
            if BIGINT in read and FLOAT in read:
                read[FLOAT] = _where_null(read[BIGINT], read[FLOAT])
            read = canonical(read)
            self._texts.update({(key, to): read for to in wanted})
        return self._texts[key, type_]


def meetings(left: Keys, right: Keys) -> Iterator[Meeting]:
    """Yield how the types that occur on both sides meet; every pair of rows meets at most once."""
    each = [
        [way for here in left.types(key) for there in right.types(key) for way in _ways(here, there)]
        for key in range(len(left))
    ]
    for ways in product(*each):
        yield Meeting(tuple(way[0] for way in ways), tuple(way[1] for way in ways))


def _ways(left: ValueType, right: ValueType) -> list[tuple[Reading, Reading]]:
    if left is right and left in _COMPARABLE:
        return [(Reading(left, left), Reading(right, right))]
    if {left, right} == {BIT, BIGINT}:
        return [(Reading(left, BIGINT), Reading(right, BIGINT))]
    if {left, right} <= {BIT, BIGINT, FLOAT}:
        return []
    if left is TEXT and right in _COMPARABLE:
        return [
            (Reading(TEXT, right), Reading(right, right)),
            (Reading(TEXT, right, fits=False), Reading(right)),
        ]
    if right is TEXT and left in _COMPARABLE:
        return [(there, here) for here, there in _ways(right, left)]
    return [(Reading(left), Reading(right))]


def _where_null(known: pl.Series, values: pl.Series) -> pl.Series:
    return pl.select(pl.when(known.is_null()).then(values)).to_series()


def _all_the_same(mask: pl.Series) -> pl.Series:
    return pl.select(pl.when(mask).then(0)).to_series()
