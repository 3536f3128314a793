"""Where a row goes: paths of outputs with placeholders, filled in from the row, and never leading elsewhere.

``{date}`` and ``{time}`` are the day and the hour of the row's time, in UTC; ``{instance}`` the number of the
instance; any other ``{column}`` the row's value there, written so that it is one safe name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from headrace.connect.file_patterns import is_pattern
from headrace.errors import UserError
from headrace.events.batch import TIME, Batch, ValueType
from headrace.names import safe_file_stem

INSTANCE: Final = "instance"

#: What stands for no value and for an empty text: no value is written so.
NULL_NAME: Final = "~null"
EMPTY_NAME: Final = "~empty"

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")

_TIMES: Final = {"date": "%Y-%m-%d", "time": "%H"}

#: Suffixes that belong together, as those of ``rows.jsonl.gz``.
_SUFFIXES: Final = frozenset({".json", ".jsonl", ".ndjson", ".csv", ".avro", ".parquet", ".gz", ".zst"})

#: A name with its number, and while it is made, must fit in the 255 bytes that a file system takes.
_LONGEST_NAME: Final = 200

#: A number of so many digits sorts behind those before it for ever.
_DIGITS: Final = 8


def placeholders(path: str) -> list[str]:
    """Return the names of the placeholders of a path that are filled in from a row."""
    return [name for name in _PLACEHOLDER.findall(path) if name != INSTANCE]


def check_output_path(output: str, path: str) -> None:
    """Raise `UserError` for a path that is a pattern or a folder, or whose braces make no sense."""
    if is_pattern(path) or path.endswith("/"):
        raise UserError(f'outputs.{output}.path: expected one file such as "out.jsonl", found {path!r}')
    rest = _PLACEHOLDER.sub("", path)
    if "" in _PLACEHOLDER.findall(path) or "{" in rest or "}" in rest:
        raise UserError(
            f"outputs.{output}.path: expected placeholders such as {{date}}, {{time}}, {{instance}} or "
            f"{{column}}, found {path!r}"
        )


def instance_path(path: str, instance: int) -> str:
    """Return the path that an instance writes: its number for ``{instance}``.

    Without that, the first writes `path`, others with ``-n`` before its suffix.
    """
    if f"{{{INSTANCE}}}" in path:
        return path.replace(f"{{{INSTANCE}}}", str(instance))
    return path if instance == 0 else _behind_stem(path, f"-{instance}")


def numbered_path(path: str, number: int) -> str:
    """Return the path of the file with a number among those that a path stands for."""
    return _behind_stem(path, f"-{number:0{_DIGITS}}")


def fixed_folder(folder: Path, path: str) -> Path:
    """Return the folder that all files which a path stands for are in or below."""
    parts = takewhile(lambda part: _PLACEHOLDER.search(part) is None, Path(path).parent.parts)
    return folder.joinpath(*parts)


def glob_of(path: str, *, numbered: bool) -> str:
    """Return a glob that matches all files that a path stands for."""
    return _PLACEHOLDER.sub("*", _behind_stem(path, "-*") if numbered else path)


def overlap(stars: str, pattern: str) -> bool:
    """Tell whether some name matches both: one with ``*`` for any letters, and a glob."""
    if not stars and not pattern:
        return True
    if stars.startswith("*"):
        return overlap(stars[1:], pattern) or (bool(pattern) and overlap(stars, pattern[_token(pattern) :]))
    if pattern.startswith("*"):
        return overlap(stars, pattern[1:]) or (bool(stars) and overlap(stars[1:], pattern))
    if not stars or not pattern:
        return False
    token = _token(pattern)
    return fnmatchcase(stars[0], pattern[:token]) and overlap(stars[1:], pattern[token:])


def _token(pattern: str) -> int:
    """Return the length of what stands for one letter at the beginning of a glob."""
    closing = pattern.find("]", 3 if pattern.startswith("[!") else 2)
    return closing + 1 if pattern.startswith("[") and closing > 0 else 1


def _behind_stem(path: str, text: str) -> str:
    whole = PurePosixPath(path)
    suffixes: list[str] = []
    stem = whole
    while stem.suffix and (not suffixes or {stem.suffix, *suffixes} <= _SUFFIXES):
        suffixes.insert(0, stem.suffix)
        stem = stem.with_suffix("")
    return str(stem.with_name(f"{stem.name}{text}{''.join(suffixes)}"))


def by_place(path: str, batch: Batch) -> Iterator[tuple[str, Batch]]:
    """Yield each place that rows of a batch go to, in the order of the first rows, with its rows."""
    if not placeholders(path) or not batch.height:
        if batch.height:
            yield path, batch
        return
    places = _places(path, batch)
    unique = places.unique(maintain_order=True).to_list()
    for place in unique:
        yield place, batch if len(unique) == 1 else batch.filter(places == place)


def misplaced(path: str, batch: Batch) -> dict[int, str]:
    """Return the rows, by index, that no place can be named for, and why."""
    failures: dict[int, str] = {}
    for name in placeholders(path):
        if name.casefold() not in _TIMES:
            failures |= _nested(name, batch)
    if failures or not placeholders(path):
        return failures
    places = _places(path, batch)
    long = [place for place in places.unique() if any(len(part) > _LONGEST_NAME for part in place.split("/"))]
    why = f"the names that {path} stands for are longer than {_LONGEST_NAME} letters"
    return dict.fromkeys(places.is_in(long).arg_true(), why)


def _nested(name: str, batch: Batch) -> dict[int, str]:
    failures = {}
    for column in batch.named(name):
        for plane in {ValueType.RECORD, ValueType.ARRAY} & set(column.planes):
            for row in batch.frame[column.physical(plane)].is_not_null().arg_true():
                failures[row] = f"column '{name}' holds a {plane}, which names no file"
    return failures


def _places(path: str, batch: Batch) -> pl.Series:
    """Return the place of each row."""
    parts: list[pl.Series] = []
    at = 0
    for found in _PLACEHOLDER.finditer(path):
        parts += [_fixed(path[at : found.start()], batch.height), _names(found[1], batch)]
        at = found.end()
    parts.append(_fixed(path[at:], batch.height))
    named = {str(number): part for number, part in enumerate(parts)}
    return pl.DataFrame(named).select(pl.concat_str(pl.all())).to_series()


def _fixed(text: str, height: int) -> pl.Series:
    return pl.Series([text]).new_from_index(0, height)


def _names(name: str, batch: Batch) -> pl.Series:
    """Return what stands for a placeholder in each row."""
    if name.casefold() in _TIMES:
        return batch.frame[TIME].dt.strftime(_TIMES[name.casefold()])
    texts = pl.Series([None], dtype=pl.String).new_from_index(0, batch.height)
    for column in batch.named(name):
        for plane in column.planes:
            texts = texts.zip_with(texts.is_not_null(), _texts(batch.frame[column.physical(plane)], plane))
    found = texts.drop_nulls().unique().to_list()
    names = texts.replace_strict(found, [_safe_name(text) for text in found], return_dtype=pl.String)
    return names.fill_null(NULL_NAME)


def _texts(values: pl.Series, plane: ValueType) -> pl.Series:
    if plane is ValueType.DATETIME:
        return values.dt.strftime("%Y-%m-%dT%H-%M-%S%.6f")
    return values.cast(pl.String)


def _safe_name(text: str) -> str:
    return safe_file_stem(text) if text else EMPTY_NAME
