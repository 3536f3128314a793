"""The schema that a decoder has seen: a guess that makes the next batch fast, never what makes it right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import islice
from operator import or_
from typing import Annotated, Any, Final

import msgspec
import polars as pl

from headrace.events.batch import DTYPES, ValueType
from headrace.events.formats.json_exact import LINE, MAX_BIGINT, MIN_BIGINT, NESTED, name_and_plane

#: Names kept: more come from data that use keys as values, whose next batch has others.
_MAX_NAMES: Final = 1_000

#: The share of texts from which on values of other types in a column are worth a second reading.
_TEXT_SHARE: Final = 0.9

#: Types that the typed reader can read into one column, as floats, and tell apart afterwards.
_NUMBERS: Final = {ValueType.BIGINT, ValueType.FLOAT}

_BIGINT: Final[Any] = Annotated[int, msgspec.Meta(ge=MIN_BIGINT, le=MAX_BIGINT)]

#: What a field may be where a type occurs. A field that takes only floats would turn integers into them.
_ACCEPTED: Final[dict[ValueType, Any]] = {
    ValueType.BIGINT: _BIGINT,
    ValueType.FLOAT: _BIGINT | float,
    ValueType.TEXT: str,
    ValueType.BIT: bool,
}


@dataclass(frozen=True)
class Schema:
    """How many values of each type each name had when it was last seen; none if all it had was NULL."""

    counts: Mapping[str, Mapping[ValueType, int]] = field(default_factory=dict)

    def learn(self, frame: pl.DataFrame, nulls: Iterable[str]) -> Schema:
        """Return the schema after a batch in physical columns, where `nulls` were names of NULLs."""
        seen: dict[str, dict[ValueType, int]] = {}
        for values in frame.get_columns():
            if values.name != LINE:
                name, plane = name_and_plane(values.name)
                seen.setdefault(name, {})[plane] = len(values) - values.null_count()
        # A name that was not seen now must not keep a type that bars the typed reader.
        known = {name: counts if _main(counts) else {} for name, counts in self.counts.items()}
        merged = {**{name: {} for name in nulls}, **known, **seen}
        if len(merged) > _MAX_NAMES:
            merged = dict(islice(seen.items(), _MAX_NAMES))
        learned = Schema(merged)
        return self if learned.shape == self.shape else learned

    @cached_property
    def shape(self) -> dict[str, tuple[frozenset[ValueType], ValueType | None]]:
        """What readers are made from: the types of each name, and its main type."""
        return {name: (frozenset(counts), _main(counts)) for name, counts in self.counts.items()}

    @cached_property
    def typed(self) -> dict[str, ValueType | None]:
        """One type a name for the typed reader, None where always NULL; empty when types are too mixed."""
        types: dict[str, ValueType | None] = {}
        for name, (planes, main) in self.shape.items():
            if planes and main is None:
                return {}
            types[name] = main
        return types if any(types.values()) else {}

    @cached_property
    def dtypes(self) -> dict[str, pl.DataType]:
        """The same for Polars."""
        return {name: DTYPES[plane] for name, plane in self.typed.items() if plane is not None}

    @cached_property
    def names(self) -> list[str]:
        """The names that a struct can have, in the order of its fields."""
        return [name for name in self.shape if not _unfit_for_struct(name)]

    @cached_property
    def structs(self) -> msgspec.json.Decoder[msgspec.Struct]:
        """A decoder of one object into a struct of `names`; a field that is missing is UNSET."""
        fields = [
            (f"f{index}", _field_type(self.shape[name][0]), msgspec.UNSET)
            for index, name in enumerate(self.names)
        ]
        rename = {f"f{index}": name for index, name in enumerate(self.names)}
        struct = msgspec.defstruct("Event", fields, rename=rename, forbid_unknown_fields=True, gc=False)
        return msgspec.json.Decoder(struct)


def _main(counts: Mapping[ValueType, int]) -> ValueType | None:
    """Return the type to read a column as when others are few and can be told apart afterwards."""
    if counts.keys() == _NUMBERS:
        return ValueType.FLOAT
    if counts.get(ValueType.TEXT, 0) >= _TEXT_SHARE * sum(counts.values()) > 0:
        return ValueType.TEXT
    only, *others = counts or [None]
    return None if others or only in NESTED else only


def _field_type(planes: frozenset[ValueType]) -> Any:
    if planes & NESTED:
        return msgspec.Raw | msgspec.UnsetType
    return reduce(or_, (_ACCEPTED[plane] for plane in planes), msgspec.UnsetType | None)


def _unfit_for_struct(name: str) -> bool:
    """Whether msgspec refuses a field name: it wants names that JSON writes without escapes."""
    return '"' in name or "\\" in name or any(character < " " for character in name)
