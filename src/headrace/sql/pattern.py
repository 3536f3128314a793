"""The patterns of MATCH_RECOGNIZE: regular expressions over named variables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variable:
    """A pattern variable; None is ``.``, any event."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Sequence:
    """Patterns one after the other."""

    parts: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of several patterns."""

    parts: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A pattern `least` to `most` times; None is without end."""

    part: Pattern
    least: int
    most: int | None


Pattern = Variable | Sequence | Either | Repeat
