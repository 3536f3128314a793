"""Make a project in FOLDER: headrace.toml, a query and a few events, ready to be run and changed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from headrace.cli.options import add_json, plain
from headrace.cli.show import print_json, print_lines
from headrace.errors import UserError
from headrace.names import PROJECT_FILE


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "new", help="make a project: headrace.toml and a query", description=plain(__doc__)
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder that is empty or not there yet")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and say what to do with them."""
    folder: Path = arguments.folder
    files = _templates()
    _write(folder, files)
    if arguments.json:
        print_json({"folder": str(folder), "files": sorted(files)})
        return 0
    here = folder.resolve() == Path.cwd()
    print_lines(
        [
            f"made {', '.join(sorted(files))} in {folder}. Try:",
            *([] if here else [f"  cd {folder}"]),
            "  headrace check",
            "  headrace send papers sample.jsonl",
            "  headrace run --until-end",
            "  headrace peek guesses",
        ]
    )
    return 0


def _templates() -> dict[str, str]:
    found = resources.files("headrace.project").joinpath("templates").iterdir()
    return {file.name: file.read_text("utf-8") for file in found if file.is_file()}


def _write(folder: Path, files: Mapping[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            is_project = (folder / PROJECT_FILE).exists()
            found = f"it has a {PROJECT_FILE} already" if is_project else "it is not empty"
            raise UserError(f"{folder} cannot become a new project: {found}. Choose a new or an empty folder")
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        raise UserError(
            f"cannot make a project in {folder}: {error.strerror}. Choose another folder"
        ) from None
