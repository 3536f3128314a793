"""Files that appear whole or not at all, and folders that stay."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from headrace.errors import disk_error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a new file that takes the place of `path` when the block ends; if it raises, nothing changed.

    The bytes are synced before the name is, and the name before this returns. Raises what `disk_error` gives
    where the file cannot be written.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        with contextlib.ExitStack() as undo:
            file = undo.enter_context(temporary.open("xb"))
            undo.callback(temporary.unlink, missing_ok=True)
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error.errno or 0, path, problem=error.strerror or str(error)) from None


def make_folder(folder: Path) -> None:
    """Make the folder and those above it, each name synced, as what is stored in it will be."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
