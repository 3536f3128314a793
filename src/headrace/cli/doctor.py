"""Check this machine: disk sync, clock, SQLite version, free space, file system, locks, libraries and cores.

The disk is that of the project's data folder, or of this folder where there is no project. The exit code is 3
if something fails, else 0.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import print_json, print_lines
from headrace.clock import SystemClock
from headrace.errors import Transient
from headrace.names import PROJECT_FILE
from headrace.project import Project
from headrace.project.diagnosis import Finding, diagnose


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "doctor",
        help="check this machine: disk sync, clock, SQLite version",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each thing examined, and what to do about it."""
    findings = diagnose(_data_folder(Path(arguments.project)), SystemClock())
    failed = any(finding.verdict == "fail" for finding in findings)
    if arguments.json:
        print_json({"ok": not failed, "findings": [dataclasses.asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            print_lines(_lines(finding))
    return Transient.exit_code if failed else 0


def _data_folder(path: Path) -> Path:
    """Return the data folder of the project, or the folder where one would be."""
    file = path / PROJECT_FILE if path.is_dir() else path
    if file == Path(PROJECT_FILE) and not file.exists():
        return Path.cwd()
    return Project.load(file).data


def _lines(finding: Finding) -> list[str]:
    lines = [f"{finding.verdict:<5} {finding.name:<16} {finding.found}"]
    return [*lines, f"{'':<22} {finding.advice}"] if finding.advice else lines
