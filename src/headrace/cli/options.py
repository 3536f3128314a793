"""Options that several verbs share, described once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.errors import UserError
from headrace.names import PROJECT_FILE

if TYPE_CHECKING:  # loading it takes long, and a verb may have something to do first
    from headrace.project import Project

#: What tells a file with a query from the name of a job.
SQL: Final = ".sql"


def add_project(parser: argparse.ArgumentParser) -> None:
    """Add ``--project PATH``."""
    parser.add_argument(
        "--project",
        default=PROJECT_FILE,
        metavar="PATH",
        help=f"the project's folder or {PROJECT_FILE} (default: here)",
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


def chosen_jobs(project: Project, arguments: argparse.Namespace) -> list[str]:
    """Return the jobs that were named, or all. Raises UserError where there is none."""
    jobs = list(dict.fromkeys(arguments.jobs)) or list(project.jobs)
    if not jobs:
        raise UserError("the project has no jobs: add a [jobs.NAME] section to headrace.toml")
    return jobs
