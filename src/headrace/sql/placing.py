"""Which partition an event of an input is in: the rules that say so, each with the columns it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.errors import Span
from headrace.sql.plan import ColumnRef, Scan, Script, scans

#: The column that the service adds to events, folded.
PARTITION_ID: Final = "partitionid"


@dataclass(frozen=True, slots=True)
class InputPartitions:
    """What is known of an input: its number of partitions, and the column whose value chooses one, if any."""

    count: int
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Repartition:
    """How an input is spread anew: over `count` partitions, by the values of the columns `keys`."""

    keys: tuple[str, ...]
    count: int

    @property
    def rule(self) -> str:
        """A text that is another one where events would be spread in another way."""
        return f"{', '.join(key.casefold() for key in self.keys)} INTO {self.count}"


#: A way to choose a partition, and the number of columns that it looks at. Inputs with one rule and as many
#: partitions have equal values in the same partition.
Rule = tuple[str, int]

_BY_PARTITION_ID: Final[Rule] = ("PartitionId", 1)
_BY_KEY: Final[Rule] = ("key", 1)


@dataclass(frozen=True, slots=True)
class Place:
    """How the events of an input lie in `count` partitions: the columns of each rule that holds for them."""

    count: int
    rules: Mapping[Rule, tuple[str, ...]]
    repartition: Repartition | None = None

    def holds(self, rule: Rule, number: int, column: str) -> bool:
        """Return whether a folded column is the one that `rule` looks at in place `number`."""
        return rule in self.rules and self.rules[rule][number].casefold() == column


@dataclass(frozen=True, slots=True)
class Wish:
    """PARTITION BY as it stands behind an input; `keys` is None where some of them are no plain columns."""

    keys: tuple[str, ...] | None
    count: int | None
    span: Span

    @property
    def folded(self) -> tuple[str, ...]:
        """The columns, as they compare."""
        return tuple(key.casefold() for key in self.keys or ())

    @property
    def by_columns(self) -> bool:
        """Whether it asks for partitions by columns of the events."""
        return self.keys is not None and PARTITION_ID not in self.folded

    def needs_step(self, given: InputPartitions) -> bool:
        """Return whether it asks for other partitions than those that there are."""
        by_own_key = given.key is not None and given.key.casefold() in self.folded
        return self.by_columns and not (by_own_key and self.count in (None, given.count))


#: By input the PARTITION BY, or None, of each place where it is read.
Wishes = Mapping[str, Sequence[Wish | None]]


class DifferentWishesError(Exception):
    """An input is to be repartitioned, and is read with different PARTITION BY."""

    def __init__(self, name: str, span: Span) -> None:
        self.name, self.span = name, span
        super().__init__(name)


def wishes(script: Script) -> Wishes:
    """Return what a script says in PARTITION BY behind its inputs."""
    found: dict[str, list[Wish | None]] = {}
    for scan in scans(script):
        found.setdefault(scan.input, []).append(_wish(scan))
    return found


def _wish(scan: Scan) -> Wish | None:
    if scan.partition is None:
        return None
    names = [key.name for key in scan.partition.keys if isinstance(key, ColumnRef)]
    plain = len(names) == len(scan.partition.keys)
    return Wish(tuple(names) if plain else None, scan.partition.count, scan.span)


def places(script: Script, inputs: Mapping[str, InputPartitions], asked: Wishes) -> dict[str, Place]:
    """Return how the events of each input lie once it has been repartitioned as is `asked` for.

    Where one input has to be, all that have PARTITION BY columns are, so that one rule places them all.
    Raises DifferentWishesError.
    """
    stepping = any(
        wish is not None and wish.needs_step(inputs[name]) for name in asked for wish in asked[name]
    )
    if not stepping:
        return places_as_they_are(script, inputs, asked)
    return {name: _place(script, name, inputs[name], asked.get(name, ())) for name in script.inputs}


def places_as_they_are(
    script: Script, inputs: Mapping[str, InputPartitions], asked: Wishes
) -> dict[str, Place]:
    """Return how the events of each input lie without being repartitioned."""
    return {name: _own_place(script, name, inputs[name], asked.get(name, ())) for name in script.inputs}


def _place(script: Script, name: str, given: InputPartitions, asked: Sequence[Wish | None]) -> Place:
    first = next((wish for wish in asked if wish is not None and wish.by_columns), None)
    if first is None or first.keys is None:
        return _own_place(script, name, given, asked)
    if any(wish is None or (wish.folded, wish.count) != (first.folded, first.count) for wish in asked):
        raise DifferentWishesError(name, first.span)
    count = first.count or given.count
    return Place(count, {("PARTITION BY", len(first.keys)): first.keys}, Repartition(first.keys, count))


def _own_place(script: Script, name: str, given: InputPartitions, asked: Sequence[Wish | None]) -> Place:
    rules: dict[Rule, tuple[str, ...]] = {}
    if _is_trusted(script, name, asked):
        rules[_BY_PARTITION_ID] = ("PartitionId",)
    if given.key is not None:
        rules[_BY_KEY] = (given.key,)
    return Place(given.count, rules)


def _is_trusted(script: Script, name: str, asked: Sequence[Wish | None]) -> bool:
    """Return whether the PartitionId of the events of an input is the service's, not one of their own."""
    tables = (table for table in script.tables if table.input == name)
    declared = (column.casefold() for table in tables for column, _ in table.columns)
    vouched = any(wish is not None and PARTITION_ID in wish.folded for wish in asked)
    return vouched and PARTITION_ID not in declared
