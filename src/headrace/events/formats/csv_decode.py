"""CSV bodies to batches: Polars reads what is proven well formed, the exact reader says what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from headrace.errors import DataError
from headrace.events.batch import ORIGIN, POLARS_FAULTS, Batch, Column, ValueType, concat
from headrace.events.formats.byte_positions import Positions
from headrace.events.formats.csv_records import (
    BOM,
    check_delimiter,
    fields_of,
    header_names,
    record_ends,
    well_formed,
    without_break,
)
from headrace.events.formats.decoded import Decoded, Reject
from headrace.events.formats.json_exact import check_size
from headrace.events.formats.json_lines import BadEvent, Lines
from headrace.limits import MAX_EVENT_BYTES, MAX_EVENT_KEYS

#: Below so many records the exact reader is done before Polars is.
_FAST_RECORDS: Final = 16


class CsvDecoder:
    """Decodes CSV: a record a body, or with no `header` a document a body, with a header of its own.

    All values are text; an empty field is NULL, and ``""`` the empty text. A record whose fields are not as
    many as the header's, whose quotes are broken or that is no UTF-8 is a Reject, and so is a document with
    such a record as a whole. Raises DataError for a header without a name, or with one twice.
    """

    def __init__(self, header: bytes = b"", delimiter: str = ",") -> None:
        check_delimiter(delimiter)
        self._delimiter = delimiter
        self._names = _names(header, delimiter) if header else None

    def decode(self, bodies: Sequence[bytes], joined: bytes | None = None) -> Decoded:
        """Return the events of `bodies`, in order; columns are those with a value, in the header's order."""
        if self._names is None:
            return _of_documents(bodies, self._delimiter)
        texts = bodies if joined is not None else [body.removesuffix(b"\n") for body in bodies]
        return _of_records(Lines.of(texts, joined), self._names, self._delimiter)


@dataclass
class _Documents:
    """Records under one header, with the index of the body of each."""

    records: list[bytes] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)


def _names(header: bytes, delimiter: str) -> list[str]:
    names = header_names(header, delimiter)
    if len(names) > MAX_EVENT_KEYS:
        raise DataError(f"the CSV has {len(names)} columns, more than {MAX_EVENT_KEYS}")
    return names


def _of_records(lines: Lines, names: Sequence[str], delimiter: str) -> Decoded:
    """Return the rows of `lines`, a record each."""
    check_size(lines.count, len(names))
    if lines.count >= _FAST_RECORDS and lines.none_longer_than(MAX_EVENT_BYTES):
        if _plainly_well_formed(lines, delimiter, len(names)):
            frame = _read(lines, names, delimiter)
            if frame is not None:
                return Decoded(_batch(frame, names, np.arange(lines.count)), ())
        good = well_formed(lines, delimiter, len(names))
        chosen = np.flatnonzero(good)
        frame = _read(lines.only(chosen), names, delimiter) if len(chosen) else None
        if frame is not None:
            exact = _exact(lines.each(), np.flatnonzero(~good).tolist(), names, delimiter)
            return _merged(frame, chosen, exact, names)
    exact = _exact(lines.each(), range(lines.count), names, delimiter)
    return _merged(None, np.empty(0, np.int64), exact, names)


def _plainly_well_formed(lines: Lines, delimiter: str, columns: int) -> bool:
    """Whether no quote stands anywhere and there are as many delimiters as there should be in all.

    A reader that refuses records with too many fields has then found none with too few.
    """
    if b'"' in lines.joined:
        return False
    return lines.lengths is None and lines.joined.count(delimiter.encode()) == lines.count * (columns - 1)


def _read(lines: Lines, names: Sequence[str], delimiter: str) -> pl.DataFrame | None:
    """Return the records as Polars reads them, None if it refuses one or finds more or fewer.

    It leaves out returns that begin a line, whatever follows them.
    """
    if b"\n\r" in lines.joined or lines.joined.startswith(b"\r"):
        return None
    joined = (
        lines.joined + b"\n" if lines.joined.endswith((b"\r", b"\n")) or not lines.joined else lines.joined
    )
    schema = {f"c{number}": pl.String for number in range(len(names))}
    try:
        frame = pl.read_csv(BytesIO(joined), has_header=False, schema=schema, separator=delimiter, glob=False)
    except POLARS_FAULTS:
        return None
    return frame if frame.height == lines.count else None


@dataclass
class _Exact:
    """Records read one by one: fields of the good ones by number, and why the others are not."""

    rows: dict[int, list[str | None]]
    reasons: dict[int, str]


def _exact(texts: Sequence[bytes], numbers: Iterable[int], names: Sequence[str], delimiter: str) -> _Exact:
    found = _Exact({}, {})
    for number in numbers:
        try:
            found.rows[number] = _checked(texts[number], len(names), delimiter)
        except BadEvent as error:
            found.reasons[number] = str(error)
    return found


def _checked(record: bytes, columns: int, delimiter: str) -> list[str | None]:
    if len(record) > MAX_EVENT_BYTES:
        raise BadEvent(f"larger than {MAX_EVENT_BYTES} bytes")
    fields = fields_of(record, delimiter)
    if len(fields) != columns:
        raise BadEvent(f"{_fields(len(fields))}, where the header has {columns}")
    return fields


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _merged(frame: pl.DataFrame | None, numbers: Positions, exact: _Exact, names: Sequence[str]) -> Decoded:
    """Return what Polars read, with the `numbers` of its records, and what was read one by one."""
    schema = {f"c{number}": pl.String for number in range(len(names))}
    frames = [pl.DataFrame(list(exact.rows.values()), schema=schema, orient="row")]
    origins = np.fromiter(exact.rows, np.int64, len(exact.rows))
    if frame is not None:
        frames.insert(0, frame)
        origins = np.concatenate((numbers, origins))
    whole = pl.concat(frames)
    if frame is not None and exact.rows:
        order = np.argsort(origins)
        whole, origins = whole[order], origins[order]
    rejects = tuple(Reject(*item) for item in sorted(exact.reasons.items()))
    return Decoded(_batch(whole, names, origins), rejects)


def _batch(frame: pl.DataFrame, names: Sequence[str], origins: Positions) -> Batch:
    planes, columns = [pl.Series(ORIGIN, origins, pl.Int64)], []
    for name, values in zip(names, frame.get_columns(), strict=True):
        if values.null_count() < frame.height:
            column = Column(name, (ValueType.TEXT,))
            planes.append(values.alias(column.physicals[0]))
            columns.append(column)
    return Batch(pl.DataFrame(planes), tuple(columns))


def _of_documents(bodies: Sequence[bytes], delimiter: str) -> Decoded:
    """Return the rows of `bodies`, a document each; those with the same header are read together."""
    groups: dict[bytes, _Documents] = {}
    reasons: dict[int, str] = {}
    for index, body in enumerate(bodies):
        try:
            header, records = _opened(body)
        except BadEvent as error:
            reasons[index] = str(error)
            continue
        group = groups.setdefault(header, _Documents())
        group.records += records
        group.owners += [index] * len(records)
    batches = []
    for header, group in groups.items():
        owners = np.array(group.owners, np.int64)
        try:
            decoded = _of_records(Lines.of(group.records), _names(header, delimiter), delimiter)
        except DataError as error:
            reasons.update(dict.fromkeys(group.owners, str(error)))
            continue
        for reject in decoded.rejects:
            reasons.setdefault(int(owners[reject.origin]), reject.reason)
        origins = pl.Series(ORIGIN, owners[decoded.batch.frame[ORIGIN].to_numpy()])
        batches.append(Batch(decoded.batch.frame.with_columns(origins), decoded.batch.columns))
    rejects = tuple(Reject(*item) for item in sorted(reasons.items()))
    if not batches:
        return Decoded(Batch(pl.DataFrame([pl.Series(ORIGIN, [], pl.Int64)]), ()), rejects)
    whole = concat(batches)
    frame = whole.frame
    if reasons:
        frame = frame.filter(~pl.col(ORIGIN).is_in(list(reasons)))
    if len(batches) > 1:
        frame = frame.sort(ORIGIN, maintain_order=True)
    return Decoded(Batch(frame, whole.columns), rejects)


def _opened(body: bytes) -> tuple[bytes, list[bytes]]:
    """Return the header of a document and its records; raises BadEvent when it has none."""
    if len(body) > MAX_EVENT_BYTES:
        raise BadEvent(f"larger than {MAX_EVENT_BYTES} bytes")
    text = body.removeprefix(BOM)
    if b'"' in text:
        ends = [0, *record_ends(text).tolist(), len(text)]
        cut = [text[start:end] for start, end in pairwise(ends)]
    else:
        cut = text.split(b"\n")
    header, *records = [record for record in map(without_break, cut) if record] or [b""]
    if not header:
        raise BadEvent("empty body")
    if not records:
        raise BadEvent("a header without a record: a CSV body is a header and its records")
    return header, records
