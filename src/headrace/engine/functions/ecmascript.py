r"""Regular expressions of ECMAScript, as REGEXMATCH takes them: translated for Polars, or for Python.

The dialect is ECMAScript without flags u and v, case ignored, ``.`` matching every character and ``^ $``
the ends of the whole text. ``\d`` and ``\w`` are ASCII. Polars (the Rust engine: linear time) searches
whatever has no lookaround, back reference or ``\B``; Python's `re` searches those. Lookbehind must have a
fixed width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import polars as pl

from headrace.engine.functions.patterns import escaped
from headrace.engine.functions.positions import position, unit_position
from headrace.engine.rows import each_pattern, per_unique

#: What `find_regex` gives for a pattern that is right but cannot be searched for here.
UNSUPPORTED: Final = -1

_Ranges = tuple[tuple[int, int], ...]

_LAST: Final = 0x10FFFF
_DIGIT: Final[_Ranges] = ((0x30, 0x39),)
_WORD: Final[_Ranges] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Final[_Ranges] = (
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)


def _outside(ranges: _Ranges) -> _Ranges:
    starts = [0, *(last + 1 for _, last in ranges)]
    ends = [*(first - 1 for first, _ in ranges), _LAST]
    return tuple((first, last) for first, last in zip(starts, ends, strict=True) if first <= last)


_CLASSES: Final[dict[str, _Ranges]] = {
    "d": _DIGIT,
    "D": _outside(_DIGIT),
    "w": _WORD,
    "W": _outside(_WORD),
    "s": _SPACE,
    "S": _outside(_SPACE),
}
_CONTROLS: Final = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_INSIDE: Final = r"(?<=[0-9A-Za-z_])"
_NOT_INSIDE: Final = r"(?<![0-9A-Za-z_])"
_BEFORE: Final = r"(?=[0-9A-Za-z_])"
_NOT_BEFORE: Final = r"(?![0-9A-Za-z_])"
_EDGE: Final = f"(?:{_INSIDE}{_NOT_BEFORE}|{_NOT_INSIDE}{_BEFORE})"
_NO_EDGE: Final = f"(?:{_INSIDE}{_BEFORE}|{_NOT_INSIDE}{_NOT_BEFORE})"
_GROUP: Final = re.compile(r"\((?:\?(?:(:|=|!|<=|<!)|<([A-Za-z_$][\w$]*)>))?")
_QUANTIFIER: Final = re.compile(r"([*+?]|\{([0-9]+)(?:(,)([0-9]*))?\})(\??)")
_HEX: Final = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?")


class BadPatternError(ValueError):
    """A pattern that is no regular expression of ECMAScript."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A pattern for both engines; `polars` is None where only Python can search for it."""

    polars: str | None
    python: str


def find_regex(text: pl.Expr, pattern: pl.Expr, constant: object, *, wide: bool) -> pl.Expr:
    """Return where a pattern first matches in `text`, from 1.

    It is 0 where it does not match and where the pattern is none, UNSUPPORTED where this engine has no way.
    """

    def find(texts: pl.Expr, written: str) -> pl.Expr:
        return pl.when(texts.is_not_null()).then(_find(texts, written, wide=wide))

    if isinstance(constant, str):
        return find(text, constant)
    return each_pattern(text, pattern, find, pl.Int64())


def _find(text: pl.Expr, written: str, *, wide: bool) -> pl.Expr:
    try:
        translation = translate(written)
    except BadPatternError:
        return pl.lit(0, dtype=pl.Int64)
    if translation.polars is not None and _polars_takes(translation.polars):
        return position(text, text.str.find(translation.polars), wide=wide).fill_null(0)
    try:
        compiled = re.compile(translation.python, re.IGNORECASE | re.DOTALL)
    except (re.error, RecursionError, OverflowError):
        return pl.lit(UNSUPPORTED, dtype=pl.Int64)

    def search(each: str) -> int:
        match = compiled.search(each)
        return unit_position(each, match.start()) if match else 0

    return per_unique([text], search, pl.Int64())


@lru_cache(maxsize=256)
def _polars_takes(pattern: str) -> bool:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError:  # too large for it
        return False
    return True


@lru_cache(maxsize=256)
def translate(pattern: str) -> Translation:
    """Return `pattern` for the two engines; raises BadPatternError."""
    return _Translator(pattern).run()


class _Translator:
    """One pass over a pattern, from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._place = 0
        self._polars: list[str] = []
        self._python: list[str] = []
        self._backtracks = False
        groups = [match[2] for match in _groups(pattern)]
        self._names = {name: number for number, name in enumerate(groups, 1) if name}
        self._count = len(groups)

    def run(self) -> Translation:
        depth = 0
        while self._place < len(self._pattern):
            character = self._pattern[self._place]
            if character == "(":
                depth += 1
                self._open()
            elif character == ")":
                depth -= 1
                if depth < 0:
                    raise BadPatternError("a ) without (")
                self._emit(1, ")")
                self._quantify()
            elif character == "|":
                self._emit(1, "|")
            elif character in "^$":
                self._emit(1, *((r"\A", r"\A") if character == "^" else (r"\z", r"\Z")))
            else:
                self._atom(character)
        if depth:
            raise BadPatternError("a ( without )")
        polars = None if self._backtracks else "(?is)" + "".join(self._polars)
        return Translation(polars, "".join(self._python))

    def _emit(self, taken: int, polars: str, python: str | None = None) -> None:
        self._place += taken
        self._polars.append(polars)
        self._python.append(polars if python is None else python)

    def _open(self) -> None:
        opened = _GROUP.match(self._pattern, self._place)
        if opened is None or self._pattern.startswith("?", opened.end()):
            raise BadPatternError("an unknown group")
        kind = opened[1]
        if kind in {"=", "!", "<=", "<!"}:
            self._backtracks = True
        self._emit(len(opened[0]), f"(?{kind}" if kind else "(")

    def _atom(self, character: str) -> None:
        if character in "*+?":
            raise BadPatternError("nothing to repeat")
        if character == "{" and _QUANTIFIER.match(self._pattern, self._place):
            raise BadPatternError("nothing to repeat")
        if character == "\\":
            quantifiable = self._escape()
        elif character == "[":
            self._character_class()
            quantifiable = True
        else:
            self._emit(1, "." if character == "." else escaped(character))
            quantifiable = True
        if quantifiable:
            self._quantify()

    def _quantify(self) -> None:
        found = _QUANTIFIER.match(self._pattern, self._place)
        if found is None:
            return
        if found[4] and int(found[4]) < int(found[2]):
            raise BadPatternError("a quantifier whose end is below its start")
        self._emit(len(found[0]), found[0])
        following = _QUANTIFIER.match(self._pattern, self._place)
        if following is not None:
            raise BadPatternError("nothing to repeat")

    def _escape(self) -> bool:
        """Translate an escape outside a class; return whether a quantifier may follow."""
        rest = self._pattern[self._place + 1 :]
        if not rest:
            raise BadPatternError("a pattern that ends in \\")
        if rest[0] in "bB":
            self._backtracks |= rest[0] == "B"
            self._emit(2, r"(?-u:\b)", _EDGE if rest[0] == "b" else _NO_EDGE)
            return False
        if rest[0] in _CLASSES:
            self._emit(2, _written(_CLASSES[rest[0]]))
            return True
        number = re.match(r"[1-9][0-9]*", rest)
        if number and int(number[0]) <= self._count:
            self._refer(int(number[0]), 1 + len(number[0]))
            return True
        named = re.match(r"k<([^>]+)>", rest)
        if named and self._names:
            if named[1] not in self._names:
                raise BadPatternError(f"no group is called {named[1]}")
            self._refer(self._names[named[1]], 1 + len(named[0]))
            return True
        code, taken = self._code(rest)
        self._emit(1 + taken, escaped(chr(code)))
        return True

    def _refer(self, group: int, taken: int) -> None:
        self._backtracks = True
        self._emit(taken, "", f"(?:\\{group})")

    def _code(self, rest: str) -> tuple[int, int]:
        """Return the code point of an escape, and how many characters it takes after the backslash."""
        hexadecimal = _HEX.match(rest)
        if hexadecimal:
            high = int(hexadecimal[1] or hexadecimal[2], 16)
            if 0xD800 <= high <= 0xDBFF and hexadecimal[3]:
                low = int(hexadecimal[3], 16)
                return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), len(hexadecimal[0])
            if 0xD800 <= high <= 0xDFFF:
                raise BadPatternError("half a surrogate pair")
            return high, len(hexadecimal[0]) if hexadecimal[3] is None else 5
        if rest[0] == "c" and re.match(r"c[A-Za-z]", rest):
            return ord(rest[1]) % 32, 2
        octal = re.match(r"[0-3][0-7]{0,2}|[4-7][0-7]?", rest)
        if octal:
            return int(octal[0], 8), len(octal[0])
        return ord(_CONTROLS.get(rest[0], rest[0])), 1

    def _character_class(self) -> None:
        place = self._place + 1
        negated = self._pattern.startswith("^", place)
        place += negated
        ranges: list[tuple[int, int]] = []
        while not self._pattern.startswith("]", place):
            first, place = self._class_atom(place)
            dash = self._pattern.startswith("-", place) and not self._pattern.startswith("-]", place)
            if not dash:
                ranges.extend(first)
                continue
            last, place = self._class_atom(place + 1)
            if len(first) > 1 or len(last) > 1 or first[0][0] != first[0][1] or last[0][0] != last[0][1]:
                ranges.extend([*first, (0x2D, 0x2D), *last])  # [\w-x]: the dash is a dash
            elif first[0][0] > last[0][0]:
                raise BadPatternError("a range whose end is below its start")
            else:
                ranges.append((first[0][0], last[0][0]))
        self._emit(place + 1 - self._place, _written(tuple(ranges), negated=negated))

    def _class_atom(self, place: int) -> tuple[_Ranges, int]:
        """Return the characters of one element of a class, and the place behind it."""
        rest = self._pattern[place:]
        if not rest:
            raise BadPatternError("a [ without ]")
        if rest[0] != "\\":
            return ((ord(rest[0]), ord(rest[0])),), place + 1
        if len(rest) == 1:
            raise BadPatternError("a [ without ]")
        if rest[1] in _CLASSES:
            return _CLASSES[rest[1]], place + 2
        if rest[1] == "b":
            return ((0x08, 0x08),), place + 2
        code, taken = self._code(rest[1:])
        return ((code, code),), place + 1 + taken


def _written(ranges: _Ranges, *, negated: bool = False) -> str:
    if not ranges:
        return r"[\x00-\U0010FFFF]" if negated else r"[^\x00-\U0010FFFF]"
    parts = [
        escaped(chr(first)) if first == last else f"{escaped(chr(first))}-{escaped(chr(last))}"
        for first, last in ranges
    ]
    return f"[{'^' * negated}{''.join(parts)}]"


def _groups(pattern: str) -> list[re.Match[str]]:
    """Return the capturing groups of a pattern, in order."""
    found = []
    in_class = False
    place = 0
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            place += 1
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character == "(":
            match = _GROUP.match(pattern, place)
            if match and not match[1]:
                found.append(match)
        place += 1
    return found
