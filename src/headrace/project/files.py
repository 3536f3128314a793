"""Files among the places of a project: what is read of what is written, and paths that cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from headrace.connect.file_output_settings import FileOutputSettings
from headrace.connect.file_places import check_output_path, fixed_folder, overlap
from headrace.connect.files import FileSettings
from headrace.connect.sqlite import SqliteSettings
from headrace.errors import UserError
from headrace.limits import MAX_INSTANCES
from headrace.project.settings import OutputSettings, Place


def feeds(folder: Path, written: Place, read: Place) -> bool:
    """Tell whether what is written at one place is read at the other; paths start from `folder`.

    An input reads the files of an output if its path or pattern matches that of some instance.
    """
    to = written.settings
    if isinstance(to, FileOutputSettings) and isinstance(read.settings, FileSettings):
        pattern = _parts(folder, read.settings.pattern.glob)
        files = {_parts(folder, to.pattern(number)) for number in range(MAX_INSTANCES)}
        return any(_matches(file, pattern) for file in files)
    return (written.kind, written.name) == (read.kind, read.name)


def is_written(folder: Path, read: FileSettings, outputs: Iterable[OutputSettings]) -> bool:
    """Tell whether one of `outputs` writes a file that an input reads."""
    place = Place("file", read.given_path, read)
    return any(
        feeds(folder, Place("file", output.given_path, output), place)
        for output in outputs
        if isinstance(output, FileOutputSettings)
    )


def input_problem(
    folder: Path, name: str, read: FileSettings, outputs: Iterable[OutputSettings]
) -> str | None:
    """Return what is wrong with the path of an input: there is no such file, and no job writes one."""
    pattern = read.pattern
    there = pattern.matching(folder) and not (folder / pattern.path).is_dir()
    if pattern.is_pattern or there or is_written(folder, read, outputs):
        return None
    return f"inputs.{name}.path: {pattern.missing(folder)}"


def input_notes(folder: Path, read: FileSettings) -> Iterator[str]:
    """Yield what may surprise about the pattern of an input: that it matches nothing yet."""
    if read.pattern.is_pattern and not read.pattern.matching(folder):
        yield f"no file matches {read.given_path} yet: the job waits for one, --until-end reads nothing"


def check_outside(name: str, path: Path, data: Path) -> None:
    """Raise UserError if the path of an output leads into the project's data."""
    if path.resolve().is_relative_to(data):
        raise UserError(
            f"outputs.{name}.path: {path} is in {data}, which is Headrace's own. Choose another folder"
        )


def output_problems(folder: Path, data: Path, outputs: Mapping[str, OutputSettings]) -> Iterator[str]:
    """Yield what is wrong with paths of outputs: no file can be there, or be written, or two write it."""
    writers: dict[str, str] = {}
    for name, settings in outputs.items():
        if isinstance(settings, SqliteSettings):
            try:
                check_outside(name, folder / (settings.path or ""), data)
            except UserError as error:
                yield str(error)
        if not isinstance(settings, FileOutputSettings):
            continue
        path = settings.given_path
        try:
            check_output_path(name, path)
        except UserError as error:
            yield str(error)
            continue
        whole = Path(os.path.normpath(folder / path))
        first = writers.setdefault(str(whole), name)
        if first != name:
            yield f"outputs.{name}.path: output '{first}' writes {path}; give each a file of its own"
        if problem := _unwritable(whole if settings.is_appended else fixed_folder(folder, path) / "..."):
            yield f"outputs.{name}.path: {problem}"


def _unwritable(path: Path) -> str | None:
    if path.exists():
        if not path.is_file():
            return f"{path} is no file"
        return None if os.access(path, os.W_OK) else f"{path} cannot be written. Check that it is yours"
    folder = next(above for above in path.parents if above.exists())
    if not folder.is_dir():
        return f"{folder} is no folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} cannot be written. Check that it is yours"
    return None


def _parts(folder: Path, path: str) -> tuple[str, ...]:
    return Path(os.path.normpath(folder / path)).parts


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Tell whether a name can match both patterns, part by part; ``**`` stands for any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[start:], pattern[1:]) for start in range(len(path) + 1))
    return bool(path) and overlap(path[0], pattern[0]) and _matches(path[1:], pattern[1:])
