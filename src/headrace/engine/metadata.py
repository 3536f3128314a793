"""What GetMetadataPropertyValue reads in a running job: a hidden record beside each event.

``EventId`` names the event for ever; ``EventHub`` says where and when it arrived (``Offset``,
``SequenceNumber``, ``PartitionId``, ``EnqueuedTimeUtc``); ``User`` has the properties it was published with.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Final

import msgspec
import polars as pl

from headrace.connect.source import Poll
from headrace.events.batch import DTYPES, ORIGIN, Batch, ValueType
from headrace.sql.plan import (
    METADATA,
    ColumnRef,
    Expression,
    FieldRef,
    Output,
    Relation,
    Script,
    Step,
    children,
)

#: Names made of it are the same in every run.
_EVENT_IDS: Final = uuid.UUID("0f2f6c3e-41a7-5d0b-9f0e-3a1d7c6b2e95")

_ISO: Final = "%Y-%m-%dT%H:%M:%S%.6f0Z"


class Metadata:
    """Adds the record to the events of inputs, as far as a script reads it; `read` says whether it does."""

    def __init__(self, script: Script) -> None:
        parts: tuple[Step | Output, ...] = (*script.steps, *script.outputs)
        self._properties = {name.casefold() for part in parts for name in _properties(part.relation)}

    @property
    def read(self) -> bool:
        """Whether the script reads the record at all."""
        return bool(self._properties)

    def added(self, batch: Batch, poll: Poll) -> Batch:
        """Return the events of a poll, numbered from 0 in ORIGIN, with their records."""
        if not self._properties:
            return batch
        fields = {"EventHub": _places(poll)}
        if "eventid" in self._properties:
            of = f"{poll.identity or poll.input}/{poll.partition}"
            names = [f'"{uuid.uuid5(_EVENT_IDS, f"{of}/{offset}")}"' for offset in poll.offsets]
            fields["EventId"] = pl.Series(names, dtype=pl.String)
        if poll.properties is not None:
            users = [msgspec.json.encode(one or {}).decode() for one in poll.properties]
            fields["User"] = pl.Series(users, dtype=pl.String)
        texts = [pl.lit("{")]
        for number, (name, values) in enumerate(fields.items()):
            texts += [pl.lit(f'{"," if number else ""}"{name}":'), pl.lit(values)]
        records = pl.select(pl.concat_str(*texts, pl.lit("}"))).to_series()
        return batch.with_column(METADATA, {ValueType.RECORD: records.gather(batch.frame[ORIGIN])})


def _places(poll: Poll) -> pl.Series:
    """Return where and when each event arrived, as the text of a record."""
    offsets = pl.Series(poll.offsets, dtype=pl.Int64)
    partition = pl.lit(f',"PartitionId":{poll.partition}')
    texts: list[pl.Expr | pl.Series] = [pl.lit('{"Offset":'), offsets, pl.lit(',"SequenceNumber":'), offsets]
    texts.append(partition)
    if poll.arrival_us is not None:
        arrived = pl.Series(poll.arrival_us).cast(DTYPES[ValueType.DATETIME]).dt.strftime(_ISO)
        texts += [pl.lit(',"EnqueuedTimeUtc":"'), arrived, pl.lit('"')]
    return pl.select(pl.concat_str(*texts, pl.lit("}"))).to_series()


def _properties(node: Expression | Relation) -> Iterator[str]:
    """Yield the properties that are read of the record of metadata."""
    match node:
        case FieldRef(ColumnRef(column), name) if column.endswith(METADATA):
            yield name
    for child in children(node):
        yield from _properties(child)
