"""Names that users give, made safe: nothing a user types becomes a path or an identifier as it is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from headrace.errors import UserError
from headrace.limits import MAX_NAME_CHARS

#: The file that makes a folder a project.
PROJECT_FILE: Final = "headrace.toml"

#: Between a job and an input in the name of the stage that repartitions it: no name that a user gives has it.
STAGE_MARK: Final = "~"

_KEPT: Final = b"abcdefghijklmnopqrstuvwxyz0123456789_-"

#: Names that mean a device, with any ending, to Windows.
_DEVICE: Final = re.compile(r"con|nul|aux|prn|com[0-9]|lpt[0-9]")

#: With an ending it fits in the 255 bytes of a file name; any name that `checked_name` lets pass is shorter.
_LONGEST_STEM: Final = 200

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def checked_name(name: str, kind: str) -> str:
    """Return `name` if it may name a `kind` (hub, queue, table, job ...), else raise `UserError`.

    Letters, digits, ``_ . -``, a letter or digit first, at most 128 characters.
    """
    if len(name) <= MAX_NAME_CHARS and _NAME.fullmatch(name):
        return name
    raise UserError(
        f"{name[:60]!r} cannot name a {kind}: use letters, digits, '_', '.' and '-', "
        f"beginning with a letter or digit, at most {MAX_NAME_CHARS} characters"
    )


def stage_name(job: str, input_name: str) -> str:
    """Return the name of the job that repartitions an input for `job`; no other job has it."""
    return f"{job}{STAGE_MARK}{input_name}"


def safe_file_stem(name: str) -> str:
    """Return a file stem that stands for `name` and for no other name, on any file system.

    Lower-case letters, digits, ``_`` and ``-`` stand for themselves; every other byte is written ``~`` and
    two hexadecimal digits, so that names that differ only in case, or that a file system would fold or
    refuse (``.``, ``..``, ``con``), stay apart. A stem too long for a file system is cut, and a digest of the
    name put behind it.
    """
    encoded = name.encode("utf-8", "surrogatepass")
    stem = "".join(chr(b) if b in _KEPT else f"~{b:02x}" for b in encoded)
    if _DEVICE.fullmatch(stem):
        return f"~{ord(stem[0]):02x}{stem[1:]}"
    if len(stem) > _LONGEST_STEM:
        return f"{stem[: _LONGEST_STEM - 66]}~~{hashlib.sha256(encoded).hexdigest()}"
    return stem


def inside(folder: Path, child: str) -> Path:
    """Return ``folder/child``, checked to lie inside `folder` after links are followed."""
    path = (folder / child).resolve()
    if folder.resolve() not in path.parents:
        raise UserError(f"{child!r} leads out of {folder}")
    return path
