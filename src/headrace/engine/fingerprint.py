"""A fingerprint of a bound plan: equal where two scripts mean the same, however they are laid out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum

from headrace.errors import Span
from headrace.sql.plan import Partition, Script


def fingerprint(script: Script) -> str:
    """Return 32 hexadecimal digits that say what `script` computes; the same in every process."""
    meaning = (script.steps, script.outputs, script.tables)
    return hashlib.sha256("".join(_words(meaning)).encode()).hexdigest()[:32]


def _words(value: object) -> Iterator[str]:
    """Yield a text of `value` without what says where it is written."""
    if isinstance(value, tuple):
        yield "("
        for item in value:
            yield from _words(item)
            yield ","
        yield ")"
    elif isinstance(value, Enum):
        yield value.name
    elif isinstance(value, datetime):
        yield value.isoformat()
    elif is_dataclass(value) and not isinstance(value, type):
        yield f"{type(value).__name__}("
        for part in fields(value):
            member = getattr(value, part.name)
            # Neither where a thing stands nor how it may be spread changes a result; and what a later
            # version adds with a default leaves the plans of today as they are.
            if not isinstance(member, Span | Partition) and member != part.default:
                yield f"{part.name}="
                yield from _words(member)
                yield ","
        yield ")"
    else:
        assert value is None or isinstance(value, bool | int | float | str), type(value)
        yield repr(value)
