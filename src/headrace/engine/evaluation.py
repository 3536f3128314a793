"""Running compiled expressions over one batch, and telling which row failed and why."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeGuard

import polars as pl

from headrace.engine.casts import ARRAY, BIGINT, BIT, RECORD, TEXT
from headrace.engine.compiler import Compiled, Inputs, Wanted, compile_expressions
from headrace.engine.functions.positions import WIDE_CHARACTER
from headrace.engine.functions.records import Fields, Found, read_element, read_fields, read_property
from headrace.engine.functions.whole_row import read_whole_row
from headrace.engine.row_error import first_failure
from headrace.engine.values import Fault, Value, any_of, null
from headrace.events.batch import DTYPES, TIME, Batch, Column, ValueType
from headrace.sql.plan import Call, ColumnRef, Expression, FieldRef, Literal, WholeRow, children

#: Full-length values by type, at most one not NULL in each row; a type that is missing does not occur.
Planes = dict[ValueType, pl.Series]

#: What is read from the data before compilation: rows as records, these two functions, and dots.
Read = FieldRef | Call | WholeRow

#: Functions that count characters, see `positions`.
_COUNTING: Final = frozenset(
    {"CHARINDEX", "LEFT", "LEN", "PATINDEX", "REGEXMATCH", "RIGHT", "STUFF", "SUBSTRING"}
)

#: Functions that read the data before compilation, and what they want.
READING: Final[dict[str, tuple[Wanted, ...]]] = {
    "GETRECORDPROPERTYVALUE": (RECORD, TEXT),
    "GETARRAYELEMENT": (ARRAY, BIGINT),
}

_VALUE: Final[tuple[Wanted, ...]] = ("value",)

_TEXT_PLANES: Final = (TEXT, RECORD, ARRAY)

#: To hand fewer rows to other threads takes longer than to compute them here (half of the time at ten rows).
_SPREAD_FROM: Final = 1_000

#: Lists of expressions kept compiled, and sets of types kept of each.
_MAX_PREPARED: Final = 512
_MAX_COMPILED: Final = 64


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known of a list of expressions before any batch, and its compilations so far.

    `names` are the columns that it refers to; `reads` the nodes read before compilation, inner ones
    first; `counts` and `widens` say whether it counts characters, and whether it may itself make wide ones.
    """

    expressions: tuple[Expression, ...]
    names: tuple[str, ...]
    reads: tuple[Read, ...]
    counts: bool
    widens: bool
    compiled: dict[Hashable, Compiled] = field(default_factory=dict)


#: By the identities of the expressions, which are kept with it: expressions that are equal may stand
#: elsewhere.
_prepared: dict[tuple[int, ...], Prepared] = {}


def prepare(expressions: tuple[Expression, ...]) -> Prepared:
    """Return what is known of `expressions`, remembered from the last call with the same objects."""
    key = tuple(map(id, expressions))
    found = _prepared.get(key)
    if found is None:
        if len(_prepared) >= _MAX_PREPARED:
            _prepared.clear()
        nodes = [node for expression in expressions for node in _nodes(expression)]
        calls = {node.function for node in nodes if isinstance(node, Call)}
        texts = [node.value for node in nodes if isinstance(node, Literal) and isinstance(node.value, str)]
        found = _prepared[key] = Prepared(
            expressions,
            tuple(dict.fromkeys(node.name for node in nodes if isinstance(node, ColumnRef))),
            tuple(dict.fromkeys(node for node in nodes if _is_read(node))),
            bool(calls & _COUNTING),
            "NCHAR" in calls or any(max(text, default="") > "\uffff" for text in texts),
        )
    return found


def _nodes(expression: Expression) -> Iterator[Expression]:
    """Yield the parts of `expression`, each before what holds it."""
    for child in children(expression):
        if isinstance(child, Expression):
            yield from _nodes(child)
    yield expression


def _is_read(node: Expression) -> TypeGuard[Read]:
    return isinstance(node, FieldRef | WholeRow) or (isinstance(node, Call) and node.function in READING)


def _operands(node: Read) -> tuple[tuple[Expression, ...], tuple[Wanted, ...]]:
    """Return what is computed before `node` is read, and what it is wanted as."""
    match node:
        case WholeRow():
            return (), ()
        case FieldRef():
            return (node.base,), _VALUE
    return node.arguments, READING[node.function]


class Evaluation:
    """The evaluation of expressions over one batch; its frame grows by what is computed on the way."""

    def __init__(self, batch: Batch, script: str) -> None:
        self._batch, self._script = batch, script
        self._frame = batch.frame
        self._fields: dict[Expression, Fields] = {}
        self._wide: dict[str, bool] = {}
        self._columns: dict[str, list[Column]] = {}
        for column in batch.columns:
            self._columns.setdefault(column.name.casefold(), []).append(column)

    def planes(self, expressions: tuple[Expression, ...]) -> list[Planes]:
        """Return the values of `expressions`; raises RowError."""
        return self._selected(self._run(expressions, _VALUE * len(expressions)).values)

    def plane(self, expression: Expression, type_: ValueType) -> pl.Series:
        """Return `expression` as `type_`, converted as where a function wants it; raises RowError."""
        [planes] = self._selected(self._run((expression,), (type_,)).values)
        found = planes.get(type_)
        return self._full(pl.Series([None], dtype=DTYPES[type_])) if found is None else found

    def mask(self, predicate: Expression) -> pl.Series | pl.Expr:
        """Return where `predicate` is true: an expression for the batch's frame if that is enough."""
        compiled = self._run((predicate,), ("condition",))
        (value,) = compiled.values
        if not compiled.stages and not value.faults and self._frame is self._batch.frame:
            return value.planes[BIT]
        (found,) = self._selected([value])
        return found.get(BIT, pl.Series([False]).new_from_index(0, self._batch.height))

    def fields(self, record: Expression) -> Batch:
        """Return the fields of a record as columns; raises RowError."""
        texts = self.planes((record,))[0].get(RECORD) if self._batch.height else None
        if texts is None:
            return Batch(pl.DataFrame(height=self._batch.height), ())
        fields = read_fields(texts, record)
        if fields.reasons is not None:
            reason = pl.col("reason")
            fault = Fault(reason.is_not_null(), record, _unread, (Value({TEXT: reason}),))
            raise first_failure([fault], fields.reasons.alias("reason").to_frame(), self._script)
        return fields.batch

    def _run(self, expressions: tuple[Expression, ...], wants: tuple[Wanted, ...]) -> Compiled:
        prepared = prepare(expressions)
        columns = {name: self._named(name) for name in prepared.names}
        inputs = Inputs(columns, timed=TIME in self._frame.columns)
        shape: tuple[Hashable, ...] = (*columns.values(), inputs.timed)
        for number, node in enumerate(prepared.reads):
            shape = (*shape, self._read(number, node, inputs, shape))
        return self._staged(prepared, wants, inputs, shape, "@")

    def _named(self, name: str) -> tuple[Column, ...]:
        same = self._columns.get(name.casefold(), ())
        return tuple(same if len(same) < 2 else sorted(same, key=lambda column: column.name != name))

    def _staged(
        self,
        prepared: Prepared,
        wants: tuple[Wanted, ...],
        inputs: Inputs,
        shape: tuple[Hashable, ...],
        prefix: str,
    ) -> Compiled:
        """Return the compiled expressions, after what they need has been added to the frame."""
        wide = prepared.counts and (prepared.widens or self._holds_wide_characters(inputs))
        key = (wants, shape, prefix, wide)
        compiled = prepared.compiled.get(key)
        if compiled is None:
            if len(prepared.compiled) >= _MAX_COMPILED:
                prepared.compiled.clear()
            compiled = compile_expressions(prepared.expressions, wants, inputs, prefix, wide=wide)
            prepared.compiled[key] = compiled
        for stage in compiled.stages:
            self._frame = self._frame.with_columns(stage)
        return compiled

    def _read(self, number: int, node: Read, inputs: Inputs, shape: tuple[Hashable, ...]) -> Hashable:
        """Read a node into the frame and `inputs`; return what compilation depends on."""
        operands, wants = _operands(node)
        compiled = self._staged(prepare(operands), wants, inputs, shape, f"@{number}:")
        found = self._found(node, compiled.values)
        names = {type_: f"@{number}:{type_.name}" for type_ in found.planes}
        added = [values.alias(names[type_]) for type_, values in found.planes.items()]
        faults = compiled.faults
        if found.reasons is not None:
            reason = pl.col(f"@{number}:reason")
            added.append(found.reasons.alias(reason.meta.output_name()))
            faults = (*faults, Fault(reason.is_not_null(), node, _unread, (Value({TEXT: reason}),)))
        self._frame = self._frame.with_columns(added)
        planes = {type_: pl.col(name) for type_, name in names.items()}
        inputs.read[node] = Value(planes, faults, sources=names)
        return compiled, tuple(names), found.reasons is not None

    def _found(self, node: Read, operands: Sequence[Value]) -> Found:
        if isinstance(node, WholeRow):
            found = Found({RECORD: read_whole_row(self._batch, node.source)})
        elif isinstance(node, FieldRef):
            found = self._fields_of(node.base, operands[0]).named(node.name)
        elif node.function == "GETARRAYELEMENT":
            found = read_element(self._plane(operands[0], ARRAY), self._plane(operands[1], BIGINT))
        else:
            fields = self._fields_of(node.arguments[0], operands[0])
            found = read_property(fields, self._plane(operands[1], TEXT))
        return Found(_occurring(found.planes), found.reasons)

    def _fields_of(self, record: Expression, value: Value) -> Fields:
        """Return the fields of `record`, read once however many of them are wanted."""
        if record not in self._fields:
            self._fields[record] = read_fields(self._plane(value, RECORD), record)
        return self._fields[record]

    def _plane(self, value: Value, type_: ValueType) -> pl.Series:
        """Return one plane of a value, full-length; the values of other types count as NULL."""
        return self._full(self._frame.select(value.planes.get(type_, null(type_))).to_series())

    def _computed(self, expressions: list[pl.Expr]) -> pl.DataFrame:
        if self._frame.height < _SPREAD_FROM:
            return self._frame.select_seq(expressions)
        return self._frame.select(expressions)

    def _full(self, series: pl.Series) -> pl.Series:
        """Return a series of a row each; what is the same in all comes as one value."""
        height = self._batch.height
        return series if len(series) == height else series.new_from_index(0, height)

    def _holds_wide_characters(self, inputs: Inputs) -> bool:
        columns = [column for same in inputs.columns.values() for column in same]
        names = [
            column.physical(type_) for column in columns for type_ in column.planes if type_ in _TEXT_PLANES
        ]
        for value in inputs.read.values():
            names += [name for type_, name in (value.sources or {}).items() if type_ in _TEXT_PLANES]
        unknown = [pl.col(name) for name in dict.fromkeys(names) if name not in self._wide]
        if unknown:
            ascii_only = self._frame.select(
                text.str.len_chars().sum() == text.str.len_bytes().sum() for text in unknown
            )
            for name, plain in ascii_only.row(0, named=True).items():
                self._wide[name] = not plain and _holds_wide_character(self._frame.get_column(name))
        return any(self._wide[name] for name in names)

    def _selected(self, values: Sequence[Value]) -> list[Planes]:
        """Return the planes of `values` that occur; raises RowError."""
        faults = [fault for value in values for fault in value.faults]
        failing = [any_of(fault.where for fault in faults).any().alias("@failing")] if faults else []
        planes = [
            plane.alias(f"{place}:{type_.name}")
            for place, value in enumerate(values)
            if value.sources is None
            for type_, plane in value.planes.items()
        ]
        selected = self._computed([*planes, *failing]) if planes or failing else self._frame
        if failing and selected.get_column("@failing").item(0):
            raise first_failure(faults, self._frame, self._script)
        return [
            _occurring(
                {type_: self._frame.get_column(name) for type_, name in value.sources.items()}
                if value.sources is not None
                else {
                    type_: self._full(selected.get_column(f"{place}:{type_.name}")) for type_ in value.planes
                }
            )
            for place, value in enumerate(values)
        ]


def _occurring(planes: Planes) -> Planes:
    return {type_: values for type_, values in planes.items() if values.null_count() < len(values)}


def _holds_wide_character(texts: pl.Series) -> bool:
    return bool(texts.str.contains(WIDE_CHARACTER).any())


def _unread(reason: tuple[str, ValueType]) -> str:
    return f"A record or array cannot be read: {reason[0]}"
