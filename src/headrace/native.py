"""Compiled code: a C file beside the module that calls it, made into a library when Headrace is installed.

Where there was no compiler each caller has another way, with the same results. A library is named after its
source, so that the two can never be of different versions.
"""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path


def library_path(source: Path) -> Path:
    """Return where the library stands that was compiled from a C file as it is now."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    return source.with_name(f"{source.stem}-{digest}.so")


def library(source: Path) -> ctypes.CDLL | None:
    """Return the functions of a C file; None when it has not been compiled, or not for this machine.

    They run without the interpreter's lock.
    """
    try:
        return ctypes.CDLL(str(library_path(source)))
    except OSError:
        return None


def not_compiled() -> list[Path]:
    """Return the C files of the package that no library here works for."""
    return [source for source in sorted(Path(__file__).parent.rglob("*.c")) if library(source) is None]
