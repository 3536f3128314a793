"""APPLY: each row with every element of an array, or every property of a record, that it holds.

The elements follow one another as they stand in the JSON, each with the type that it has there; those of all
rows are read at once. A row whose operand is NULL has none; a value of another type stops the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec
import numpy as np
import polars as pl

from headrace.engine.expressions import RowError, evaluate_as
from headrace.engine.row_error import located
from headrace.events.batch import TIME, Batch, ValueType
from headrace.events.formats.byte_positions import Positions
from headrace.events.formats.json import JsonDecoder
from headrace.events.formats.json_exact import read_object
from headrace.events.formats.json_lines import BadEvent
from headrace.sql.plan import SOURCE_TIME, Apply, qualified

_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_RECORD: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

#: The field of the objects that elements are read as; messages name it.
_FIELD: Final = "element"

#: The place of the element in a row that OUTER APPLY keeps though it has none.
_NOWHERE: Final = -1

_Columns = dict[str, dict[ValueType, pl.Series]]


class _UnreadableError(Exception):
    """Operand `number` cannot be read."""

    def __init__(self, number: int, reason: str) -> None:
        self.number, self.reason = number, reason
        super().__init__(reason)


def apply_elements(batch: Batch, apply: Apply, script: str) -> Batch:
    """Return each row of `batch` with every element that `apply` finds in it, in order; raises RowError.

    The columns of the elements are those of a source called `apply.name`: ArrayIndex (from 0) and ArrayValue,
    or PropertyName and PropertyValue, and SOURCE_TIME. They are NULL where OUTER APPLY keeps a row that has
    no elements.
    """
    of_arrays = apply.function == "GETARRAYELEMENTS"
    type_ = ValueType.ARRAY if of_arrays else ValueType.RECORD
    texts = evaluate_as(type_, apply.operand, batch, script)
    rows = texts.is_not_null().arg_true()
    # A line break in valid JSON is white space; without any, elements can be read as lines.
    lines = texts.drop_nulls().str.replace_all("\n", " ", literal=True).to_list()
    counts = np.zeros(batch.height, np.int64)
    try:
        counts[rows], columns = _elements(lines) if of_arrays else _properties(lines)
    except _UnreadableError as error:
        problem = f"A record or array cannot be read: {error.reason}"
        raise RowError(located(problem, apply.operand, script), rows[error.number], apply.operand) from None
    return _together(batch, apply, counts, columns)


def _elements(arrays: Sequence[str]) -> tuple[Positions, _Columns]:
    """Return how many elements each of `arrays` has, and the columns of all."""
    found = list(map(_ARRAY.decode, arrays))
    counts = _lengths(found)
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    indexes = pl.Series(np.arange(len(firsts)) - firsts, dtype=pl.Int64())
    values = _values(list(chain.from_iterable(found)), counts)
    return counts, {"ArrayIndex": {ValueType.BIGINT: indexes}, "ArrayValue": values}


def _properties(records: Sequence[str]) -> tuple[Positions, _Columns]:
    """Return how many properties each of `records` has, and the columns of all."""
    found = list(map(_RECORD.decode, records))
    for number, (text, fields) in enumerate(zip(records, found, strict=True)):
        if text.count(":") > len(fields):  # a key may stand there twice
            try:
                read_object(text.encode())
            except BadEvent as error:
                raise _UnreadableError(number, str(error)) from None
    counts = _lengths(found)
    names = pl.Series(list(chain.from_iterable(found)), dtype=pl.String())
    values = _values(list(chain.from_iterable(fields.values() for fields in found)), counts)
    return counts, {"PropertyName": {ValueType.TEXT: names}, "PropertyValue": values}


def _lengths(found: Sequence[list[msgspec.Raw] | dict[str, msgspec.Raw]]) -> Positions:
    return np.fromiter(map(len, found), np.int64, len(found))


def _values(texts: Sequence[msgspec.Raw], counts: Positions) -> dict[ValueType, pl.Series]:
    """Return the planes of the values with these JSON texts; the operands have so many of them each."""
    if not texts:
        return {}
    opening = f'{{"{_FIELD}":'.encode()
    joined = opening + (b"}\n" + opening).join(texts) + b"}"
    decoded = JsonDecoder().decode(joined.split(b"\n"), joined)
    for reject in decoded.rejects:
        number = np.searchsorted(np.cumsum(counts), reject.origin, side="right")
        raise _UnreadableError(int(number), reject.reason)
    return {
        type_: decoded.batch.frame.get_column(column.physical(type_))
        for column in decoded.batch.columns
        for type_ in column.planes
    }


def _together(batch: Batch, apply: Apply, counts: Positions, columns: _Columns) -> Batch:
    """Return each row of `batch` as often as it has elements, beside these."""
    times = np.maximum(counts, 1) if apply.outer else counts
    rows = pl.Series(np.repeat(np.arange(batch.height), times))
    places = np.arange(len(rows))
    if apply.outer:
        there = np.repeat(counts > 0, times)
        places = np.where(there, np.cumsum(there) - 1, _NOWHERE)
    element = pl.Series(places).replace(_NOWHERE, None)
    result = Batch(batch.frame[rows], batch.columns)
    for name, planes in columns.items():
        gathered = {type_: values.gather(element) for type_, values in planes.items()}
        result = result.with_column(qualified(apply.name, name), gathered)
    if TIME in batch.frame.columns:
        own = result.frame.select(pl.when(element.is_not_null()).then(pl.col(TIME))).to_series()
        result = result.with_column(qualified(apply.name, SOURCE_TIME), {ValueType.DATETIME: own})
    return result
