"""Paths of inputs: one file, or a pattern of files, and the order in which those that match are read.

Beside ``*``, ``?``, ``[...]`` and ``**`` a pattern may hold ``{date}`` and ``{time}``, written as its formats
say and in UTC, and names of one's own in braces, which stand for any text without a slash. Files are read in
order of the date and time in their names, and where that is the same, or there is none, of the names.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from headrace.errors import UserError

#: What makes a path a pattern, whatever is in braces.
_WILD: Final = frozenset("*?[")

_BRACES: Final = re.compile(r"\{([A-Za-z_][^{}/*?\[\]]*)\}")

#: The parts of a date and of a time, as formats write them, and what each is of a datetime.
DATE_PARTS: Final = {"YYYY": "year", "MM": "month", "DD": "day"}
TIME_PARTS: Final = {"HH": "hour", "MM": "minute", "SS": "second"}

_DIGITS: Final = {"year": 4, "month": 2, "day": 2, "hour": 2, "minute": 2, "second": 2}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: Where a file stands among others: the time in its name, in microseconds since 1970 UTC, and the name.
Order = tuple[int, str]


@dataclass(frozen=True)
class PathPattern:
    """A path, and how a date and a time are written in it. Raises `ValueError` for formats that cannot be."""

    path: str
    date_format: str = "YYYY-MM-DD"
    time_format: str = "HH"

    def __post_init__(self) -> None:
        if "year" not in format_parts(self.date_format, DATE_PARTS):
            raise ValueError(
                f"date_format: expected YYYY, MM and DD as in YYYY/MM/DD, found {self.date_format!r}"
            )
        if "hour" not in format_parts(self.time_format, TIME_PARTS):
            raise ValueError(f"time_format: expected HH, mm and ss as in HH-mm, found {self.time_format!r}")
        if "time" in self._tokens and "date" not in self._tokens:
            raise ValueError("path has {time} without {date}, which says the time of no day")

    @property
    def is_pattern(self) -> bool:
        """Whether more than one file may match."""
        return is_pattern(self.path) or bool(self._tokens)

    @property
    def is_timed(self) -> bool:
        """Whether the name of a file tells a time."""
        return "date" in self._tokens

    @cached_property
    def glob(self) -> str:
        """The pattern without braces: what matches it may be no date yet."""
        return "".join(
            _digits_glob(part) if kind == "part" else "?*" if kind == "any" else part
            for kind, part in self._pieces
        )

    def time_us(self, name: str) -> int | None:
        """Return the time that a name tells, in microseconds since 1970 UTC; None if it does not match."""
        found = self._regex.fullmatch(name)
        if found is None:
            return None
        parts: dict[str, int] = {}
        for part, digits in zip(self._captured, found.groups(), strict=True):
            if parts.setdefault(part, int(digits)) != int(digits):
                return None
        year, month, day = (parts.pop(part, 1) for part in ("year", "month", "day"))
        try:
            time = datetime(year, month, day, **parts, tzinfo=UTC)
        except ValueError:
            return None
        return round((time - _EPOCH).total_seconds()) * 1_000_000

    def matching(self, folder: Path) -> list[str]:
        """Return the names that match, in the order in which they are read; from `folder` if relative."""
        orders: list[Order] = []
        for name in glob.glob(self.glob, root_dir=folder, recursive=True):
            time_us = self.time_us(name) if self.is_timed else 0
            if time_us is not None:
                orders.append((time_us, checked_file_name(name)))
        return [name for _, name in sorted(orders)]

    def missing(self, folder: Path) -> str:
        """Return what is wrong where the path is that of one file, and there is none."""
        whole = folder / self.path
        if whole.is_dir():
            return f"{whole} is a folder: write which of its files are read, as '{self.path}/*.csv'"
        return f"there is no file {whole}"

    def order(self, name: str) -> Order:
        """Return where a name stands."""
        return (self.time_us(name) or 0) if self.is_timed else 0, name

    @cached_property
    def _tokens(self) -> frozenset[str]:
        return frozenset(found.casefold() for found in _BRACES.findall(self.path))

    @cached_property
    def _pieces(self) -> list[tuple[str, str]]:
        """The path in pieces: text, with what glob makes of it; a part of a time; any name."""
        pieces: list[tuple[str, str]] = []
        for number, text in enumerate(_BRACES.split(self.path)):
            if number % 2 == 0:
                pieces.append(("text", text))
                continue
            match text.casefold():
                case "date":
                    pieces += _format_pieces(self.date_format, DATE_PARTS)
                case "time":
                    pieces += _format_pieces(self.time_format, TIME_PARTS)
                case _:
                    pieces.append(("any", text))
        return pieces

    @cached_property
    def _captured(self) -> list[str]:
        return [part for kind, part in self._pieces if kind == "part"]

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(
            "".join(
                rf"(\d{{{_DIGITS[part]}}})" if kind == "part" else "[^/]+" if kind == "any" else _regex(part)
                for kind, part in self._pieces
            ),
            re.ASCII,
        )


def is_pattern(path: str) -> bool:
    """Tell whether a path is a pattern even without braces."""
    return not _WILD.isdisjoint(path)


def format_parts(text: str, parts: Mapping[str, str]) -> set[str]:
    """Return what a format tells of a time; a part is written in small or capital letters."""
    return {part for kind, part in _format_pieces(text, parts) if kind == "part"}


def checked_file_name(name: str) -> str:
    """Return a name; raises `UserError` for one that cannot be put on record."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"the name of {name!r} is not UTF-8: rename the file") from None
    return name


def closed_folder(folder: Path, pattern: str) -> str | None:
    """Return the first folder of a pattern that may not be looked into: what is in it would be missed."""
    for above in _folders(folder, pattern):
        if os.path.isdir(above) and not os.access(above, os.R_OK | os.X_OK):
            return above
    return None


def _folders(folder: Path, pattern: str) -> Iterator[str]:
    """Yield the folders that a pattern looks into."""
    parts = Path(pattern).parts[:-1]
    if not parts:
        yield str(folder)
    for count in range(1, len(parts) + 1):
        if parts[count - 1] == "**":
            above = str(Path(*parts[: count - 1])) if count > 1 else "."
            for top in glob.glob(above, root_dir=folder):
                yield from (below for below, _, _ in os.walk(folder / top))
            return
        above = str(Path(*parts[:count]))
        yield from (str(folder / name) for name in glob.glob(above, root_dir=folder))


def _format_pieces(text: str, parts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Cut a format such as YYYY/MM/DD into its parts and the text between them."""
    found = re.split(f"({'|'.join(parts)})", text, flags=re.IGNORECASE)
    return [
        ("part", parts[piece.upper()]) if number % 2 else ("text", glob.escape(piece))
        for number, piece in enumerate(found)
        if piece
    ]


def _digits_glob(part: str) -> str:
    return "[0-9]" * _DIGITS[part]


def _regex(pattern: str) -> str:
    """Return what a piece of a pattern matches, as a regular expression."""
    return "".join(
        _REGEX.get(token) or (_class(token) if len(token) > 1 else re.escape(token))
        for token in _TOKENS.findall(pattern)
    )


_TOKENS: Final = re.compile(r"\*\*/|\[!?\]?[^\]/]*\]|.", re.DOTALL)
_REGEX: Final = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}


def _class(token: str) -> str:
    inner = token[1:-1].replace("\\", "\\\\").replace("[", "\\[")
    return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner.replace('^', chr(92) + '^')}]"
