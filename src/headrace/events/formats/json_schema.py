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

from headrace.events.batch import ValueType
from headrace.events.formats.json_exact import LINE, MAX_BIGINT, MIN_BIGINT, NESTED, name_and_plane

#: Names kept: more come from data that use keys as values, whose next batch has others.
_MAX_NAMES: Final = 1_000

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
    """The types that each name has had; none if all it had was NULL."""

    types: Mapping[str, frozenset[ValueType]] = field(default_factory=dict)

    def learn(self, frame: pl.DataFrame, nulls: Iterable[str]) -> Schema:
        """Return the schema after a batch in physical columns, where `nulls` were names of NULLs."""
        seen: dict[str, frozenset[ValueType]] = dict.fromkeys(nulls, frozenset())
        for physical in frame.columns:
            if physical != LINE:
                name, plane = name_and_plane(physical)
                seen[name] = seen.get(name, frozenset()) | {plane}
        known = {name: types | seen.get(name, frozenset()) for name, types in self.types.items()}
        merged = {**known, **{name: types for name, types in seen.items() if name not in known}}
        if len(merged) > _MAX_NAMES:
            merged = dict(islice(seen.items(), _MAX_NAMES))
        return self if merged == self.types else Schema(merged)

    @cached_property
    def names(self) -> list[str]:
        """The names that fast readers take: those that JSON writes without escapes."""
        return [name for name in self.types if not _unfit(name)]

    @cached_property
    def structs(self) -> msgspec.json.Decoder[msgspec.Struct]:
        """A decoder of one object into a struct of `names`; a field that is missing is UNSET."""
        fields = [
            (f"f{index}", _field_type(self.types[name]), msgspec.UNSET)
            for index, name in enumerate(self.names)
        ]
        rename = {f"f{index}": name for index, name in enumerate(self.names)}
        struct = msgspec.defstruct("Event", fields, rename=rename, forbid_unknown_fields=True, gc=False)
        return msgspec.json.Decoder(struct)


def _field_type(planes: frozenset[ValueType]) -> Any:
    if planes & NESTED:
        return msgspec.Raw | msgspec.UnsetType
    return reduce(or_, (_ACCEPTED[plane] for plane in planes), msgspec.UnsetType | None)


def _unfit(name: str) -> bool:
    return '"' in name or "\\" in name or any(character < " " for character in name)
