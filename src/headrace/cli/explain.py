"""Show what a job's query does, as a tree: steps, windows, rules of time, and the state that is kept.

A tree is read from below: what is read stands at the bottom, what is written at the top. JOB is a job of the
project, or a file with a query.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headrace.cli.options import SQL, add_json, add_project, plain, query_in
from headrace.cli.show import print_json, print_lines
from headrace.project import Project
from headrace.sql.bind import bind
from headrace.sql.explain import Explained, explain
from headrace.sql.plan import Script


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "explain",
        help="show what a query does: steps, windows, rules of time, state",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="a job or a file.sql (default: all jobs)")
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a tree for every step and output."""
    scripts = dict(_scripts(arguments.jobs, Path(arguments.project)))
    if arguments.json:
        print_json({name: [_document(tree) for tree in explain(script)] for name, script in scripts.items()})
    else:
        print_lines(line for name, script in scripts.items() for line in _lines(name, script))
    return 0


def _scripts(names: Sequence[str], project_path: Path) -> Iterator[tuple[str, Script]]:
    files = [name for name in names if name.endswith(SQL)]
    jobs = [name for name in names if not name.endswith(SQL)]
    if jobs or not files:
        project = Project.load(project_path)
        for job in jobs or project.jobs:
            yield job, project.script(job)
    for file in files:
        yield file, bind(query_in(file))


def _lines(name: str, script: Script) -> Iterator[str]:
    yield f"job {name}"
    for tree in explain(script):
        yield from _tree(tree, "  ")


def _tree(node: Explained, indent: str) -> Iterator[str]:
    yield f"{indent}{node.what}"
    for label, text in (("time", node.time), ("keeps", node.state)):
        if text:
            yield f"{indent}    {label}: {text}"
    for source in node.sources:
        yield from _tree(source, indent + "  ")


def _document(node: Explained) -> dict[str, Any]:
    return {
        "what": node.what,
        "time": node.time,
        "state": node.state,
        "sources": [_document(source) for source in node.sources],
    }
