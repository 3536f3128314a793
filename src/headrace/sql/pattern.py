"""The patterns of MATCH_RECOGNIZE: regular expressions over named variables."""

from __future__ import annotations

from collections.abc import Iterator
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
    """One of several patterns; the one to the left comes first."""

    parts: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A pattern `least` to `most` times, as often as it can; None is without end."""

    part: Pattern
    least: int
    most: int | None


Pattern = Variable | Sequence | Either | Repeat


def variables(pattern: Pattern) -> Iterator[str]:
    """Yield the names of the variables in `pattern`, in order; they may come several times."""
    match pattern:
        case Variable(None):
            pass
        case Variable(str(name)):
            yield name
        case Repeat(part):
            yield from variables(part)
        case Sequence(parts) | Either(parts):
            for part in parts:
                yield from variables(part)


def events(pattern: Pattern) -> int:
    """Return in how many places `pattern` takes an event once its repeats are written out."""
    match pattern:
        case Variable():
            return 1
        case Repeat(part, least, most):
            return events(part) * max(1, least if most is None else most)
    return sum(map(events, pattern.parts))
