"""Patterns of LIKE and PATINDEX: ``%`` any text, ``_`` a character, ``[a-f]`` one of a set, ``[^a-f]`` none.

Letters match in their own case only, as = does. A special character stands for itself in a set: ``[%]``,
``[_]``, ``[[]``. A ``[`` that is never closed and an empty set match nothing.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Final

import polars as pl

from headrace.engine.functions.positions import position
from headrace.engine.rows import each_pattern
from headrace.engine.values import FALSE, TRUE

_ANY_TEXT: Final = "%"

#: One element of a pattern: "text" and a literal, "any" or "one" and the regular expression for it.
_Element = tuple[str, str]

_ANY: Final = ("any", ".*")


def like(text: pl.Expr, pattern: pl.Expr, constant: object) -> pl.Expr:
    """Return whether `text` as a whole matches `pattern`, which may be known to be the text `constant`."""
    if isinstance(constant, str):
        return _like(text, constant)
    return each_pattern(text, pattern, _like, pl.Boolean())


def find_pattern(text: pl.Expr, pattern: pl.Expr, constant: object, *, wide: bool) -> pl.Expr:
    """Return where `pattern` first matches in `text`, from 1; 0 where it does not."""
    find = partial(_find, wide=wide)
    if isinstance(constant, str):
        return find(text, constant)
    return each_pattern(text, pattern, find, pl.Int64())


def _like(text: pl.Expr, pattern: str) -> pl.Expr:
    elements = _elements(pattern)
    if elements is None:
        return pl.when(text.is_not_null()).then(FALSE)
    match elements:
        case ():
            return text == ""
        case (("text", only),):
            return text == only
        case (("any", _),):
            return pl.when(text.is_not_null()).then(TRUE)
        case (("text", start), ("any", _)):
            return text.str.starts_with(start)
        case (("any", _), ("text", end)):
            return text.str.ends_with(end)
        case (("any", _), ("text", middle), ("any", _)):
            return text.str.contains(middle, literal=True)
    return text.str.contains(f"(?s)^{_regex(elements)}$")


def _find(text: pl.Expr, pattern: str, *, wide: bool) -> pl.Expr:
    elements = _elements(pattern)
    if elements is None:
        return pl.when(text.is_not_null()).then(pl.lit(0, dtype=pl.Int64))
    start = "" if elements[:1] == (_ANY,) else "^"
    end = "" if elements[-1:] == (_ANY,) else "$"
    within = elements[not start : len(elements) - (not end)]
    byte = text.str.find(f"(?s){start}{_regex(within)}{end}")
    return pl.when(text.is_not_null()).then(position(text, byte, wide=wide).fill_null(0))


def _regex(elements: tuple[_Element, ...]) -> str:
    return "".join(escaped(written) if kind == "text" else written for kind, written in elements)


def escaped(text: str) -> str:
    """Return `text` as a regular expression that matches just it, for Polars and for Python alike."""
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character.isalnum() or ord(character) > 127:
        return character
    return f"\\{character}" if character.isprintable() else f"\\x{ord(character):02x}"


@lru_cache(maxsize=256)
def _elements(pattern: str) -> tuple[_Element, ...] | None:
    """Return the elements of a pattern, neighbouring texts joined; None for one that matches nothing."""
    elements: list[_Element] = []
    place = 0
    while place < len(pattern):
        character = pattern[place]
        if character == "[":
            end = pattern.find("]", place + 1)
            choices = _character_set(pattern[place + 1 : end]) if end > 0 else None
            if choices is None:
                return None
            elements.append(("one", choices))
            place = end
        elif character == "_":
            elements.append(("one", "."))
        elif character == _ANY_TEXT:
            if elements[-1:] != [_ANY]:
                elements.append(_ANY)
        elif elements and elements[-1][0] == "text":
            elements[-1] = ("text", elements[-1][1] + character)
        else:
            elements.append(("text", character))
        place += 1
    return tuple(elements)


def _character_set(written: str) -> str | None:
    """Return the regular expression of what stands between [ and ]; None where it holds nothing."""
    negated = written.startswith("^")
    rest = written[negated:]
    ranges = []
    while rest:
        if len(rest) >= 3 and rest[1] == "-":
            first, last, rest = rest[0], rest[2], rest[3:]
        else:
            first = last = rest[0]
            rest = rest[1:]
        if first <= last:
            ranges.append(_escaped(first) if first == last else f"{_escaped(first)}-{_escaped(last)}")
    if not ranges:
        return "." if negated else None
    return f"[{'^' * negated}{''.join(ranges)}]"
