"""Run a query on a sample and show the rows of each WITH step and output; nothing is written.

JOB is a job of the project, or a file with a query. The newest events of each input are taken, none moved,
or those of a file: --input readings=sample.jsonl. Behind the last event time runs to its end, so that
every window closes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.cli.numbers import at_least
from headrace.cli.options import SQL, add_json, add_project, plain, query_in
from headrace.cli.sample import Sample, fill
from headrace.cli.show import count_text, print_json, print_lines, print_table
from headrace.engine.given import Function, Rows
from headrace.engine.query import query_in_pieces
from headrace.errors import UserError
from headrace.events.batch import HIDDEN
from headrace.project import Project
from headrace.project.functions import load_function
from headrace.project.places import find_place
from headrace.sql.bind import bind

EVENTS: Final = 1_000
ROWS: Final = 10


@dataclass(slots=True)
class Previewed:
    """What is run: a query, its functions, and the events and reference data that are known so far."""

    text: str
    functions: Mapping[str, Function] = field(default_factory=dict)
    inputs: dict[str, Rows] = field(default_factory=dict)
    references: dict[str, Rows] = field(default_factory=dict)


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "preview",
        help="run a query on a sample, and show the rows of each step",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", metavar="JOB", help="a job of the project, or a file.sql")
    for option, what in (("--input", "events"), ("--reference", "reference data")):
        help_text = f"{what} of NAME from a file (JSON, CSV, Parquet); may be repeated"
        parser.add_argument(option, action="append", default=[], metavar="NAME=FILE", help=help_text)
    parser.add_argument(
        "--events",
        type=at_least(1),
        default=EVENTS,
        metavar="N",
        help=f"events to take of an input ({EVENTS})",
    )
    parser.add_argument(
        "--rows", type=at_least(1), default=ROWS, metavar="N", help=f"rows to show of each step ({ROWS})"
    )
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the rows of every step and output."""
    inputs, references = _files(arguments.input, "--input"), _files(arguments.reference, "--reference")
    if arguments.job.endswith(SQL):
        previewed = Previewed(query_in(arguments.job), {}, inputs, references)
    else:
        project = Project.load(Path(arguments.project))
        previewed = _of_project(project, arguments.job, inputs, references, arguments.events)
    answer = query_in_pieces(
        previewed.text,
        previewed.inputs,
        functions=previewed.functions,
        reference=previewed.references,
        with_steps=True,
    )
    rows = {name: answer[name] for name in answer}
    if arguments.json:
        steps = {name.removeprefix(HIDDEN): found for name, found in rows.items() if name.startswith(HIDDEN)}
        outputs = {name: found for name, found in rows.items() if not name.startswith(HIDDEN)}
        print_json(msgspec.to_builtins({"steps": steps, "outputs": outputs}, enc_hook=str))
        return 0
    for name, found in rows.items():
        kind = "step" if name.startswith(HIDDEN) else "output"
        shown = f", the first {arguments.rows}" if len(found) > arguments.rows else ""
        print_lines([f"{kind} {name.removeprefix(HIDDEN)}: {count_text(len(found), 'row')}{shown}"])
        _print_rows(found[: arguments.rows])
    return 0


def _of_project(
    project: Project, job: str, inputs: dict[str, Rows], references: dict[str, Rows], events: int
) -> Previewed:
    """Return a job of the project, with the newest events of the inputs that no file is given for."""
    text = project.query_text(job)
    script = bind(
        text,
        functions=project.functions,
        aggregates=project.aggregates,
        inputs=[*project.streams, *inputs],
        references=[*project.references, *references],
    )
    files = {name: project.folder / str(project.references[name].path) for name in script.references}
    for name in script.inputs:
        if name not in inputs:
            place = find_place(project, name, ("hub", "queue", "file"), "to take events of")
            sample = Sample(events)
            fill(sample, project, place, seconds=0)
            inputs[name] = [msgspec.json.decode(line) for line in sample.lines]
    functions = {
        name: load_function(project.folder, name, project.functions[name]) for name in script.functions
    }
    return Previewed(text, functions, inputs, {**files, **references})


def _files(given: Sequence[str], option: str) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for pair in given:
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise UserError(f"{option}: expected NAME=FILE, found {pair!r}")
        found[name] = Path(file)
    return found


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print_table(columns, [[_cell(row.get(name)) for name in columns] for row in rows])


def _cell(value: object) -> object:
    return value if isinstance(value, int | float | str | None) else msgspec.json.encode(value).decode()
