"""Show how a job runs, as one task or several, and what its query does: steps, windows, rules of time, state.

What the query does is a tree that is read from below: what is read stands at the bottom, what is written at
the top. JOB is a job of the project, or a file with a query.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from headrace.cli.options import SQL, add_json, add_project, plain, query_in
from headrace.cli.show import print_json, print_lines
from headrace.project import Project
from headrace.project.partitions import job_cut
from headrace.sql.bind import bind
from headrace.sql.explain import Explained, explain
from headrace.sql.partitioning import Cut, certain_cut
from headrace.sql.plan import Script

#: How a query runs of which nothing is certain without its inputs.
_DEPENDS: Final = "runs as one task or several: that depends on how its inputs are partitioned"


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "explain",
        help="show how a job runs and what its query does: steps, windows, rules of time, state",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="a job or a file.sql (default: all jobs)")
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print how each job runs, and a tree for every step and output."""
    found = list(_scripts(arguments.jobs, Path(arguments.project)))
    if arguments.json:
        print_json({name: _document(script, cut) for name, script, cut in found})
    else:
        print_lines(line for name, script, cut in found for line in _lines(name, script, cut))
    return 0


def _scripts(names: Sequence[str], project_path: Path) -> Iterator[tuple[str, Script, Cut | None]]:
    files = [name for name in names if name.endswith(SQL)]
    jobs = [name for name in names if not name.endswith(SQL)]
    if jobs or not files:
        project = Project.load(project_path)
        for job in jobs or project.jobs:
            script = project.script(job)
            yield job, script, job_cut(project, script)
    for file in files:
        script = bind(query_in(file))
        yield file, script, certain_cut(script)


def _lines(name: str, script: Script, cut: Cut | None) -> Iterator[str]:
    yield f"job {name}"
    yield f"  {_DEPENDS if cut is None else cut.reason}"
    if cut is not None and cut.advice is not None:
        yield f"      advice: {cut.advice}"
    for tree in explain(script):
        yield from _tree(tree, "  ")


def _tree(node: Explained, indent: str) -> Iterator[str]:
    yield f"{indent}{node.what}"
    for label, text in (("time", node.time), ("keeps", node.state)):
        if text:
            yield f"{indent}    {label}: {text}"
    for source in node.sources:
        yield from _tree(source, indent + "  ")


def _document(script: Script, cut: Cut | None) -> dict[str, Any]:
    runs = cut and {"per_partition": cut.per_partition, "reason": cut.reason, "advice": cut.advice}
    return {"runs": runs, "trees": [_tree_document(tree) for tree in explain(script)]}


def _tree_document(node: Explained) -> dict[str, Any]:
    return {
        "what": node.what,
        "time": node.time,
        "state": node.state,
        "sources": [_tree_document(source) for source in node.sources],
    }
