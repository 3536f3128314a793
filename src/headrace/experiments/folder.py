"""The folder that a demonstration works in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from headrace.errors import UserError

#: A folder that holds this file was made by a demonstration, and may be made anew.
MARK: Final = ".headrace-demo"


def make_folder(folder: Path) -> None:
    """Make a folder, emptied if an earlier demonstration left it; raises `UserError` for any other."""
    try:
        _empty(folder)
    except OSError as error:
        raise UserError(f"cannot work in {folder}: {error.strerror}. Choose another with --folder") from None


def _empty(folder: Path) -> None:
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARK).exists():
            raise UserError(f"{folder} is not empty and was not made by a demo: choose another with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
