"""Options that several verbs share, described once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from headrace.errors import UserError
from headrace.project import FILE_NAME

#: What tells a file with a query from the name of a job.
SQL: Final = ".sql"


def add_project(parser: argparse.ArgumentParser) -> None:
    """Add ``--project PATH``."""
    parser.add_argument(
        "--project",
        default=FILE_NAME,
        metavar="PATH",
        help=f"the project's folder or {FILE_NAME} (default: here)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def plain(docstring: str | None) -> str:
    """Return a module's docstring as help for a terminal: without the marks of its markup."""
    return (docstring or "").replace("``", "`")


def query_in(path: str) -> str:
    """Return the text of a file with a query."""
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
