"""Check a project's settings and queries without running them, and tell how each job would run.

All problems are shown, each with the path of its key or the line and column of its query. The exit code is 2
if there are any.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import count_text, print_json, print_lines
from headrace.errors import UserError
from headrace.project.checking import JobCheck, ProjectCheck, check_project
from headrace.project.settings import Place


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "check",
        help="check a project's settings and queries without running them",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="the jobs to check (default: all)")
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; exit code 2 if there are problems."""
    check = check_project(Path(arguments.project), arguments.jobs)
    if arguments.json:
        print_json(_document(check))
    else:
        print_lines(_lines(check))
    return UserError.exit_code if check.problem_count else 0


# --- text -------------------------------------------------------------------------------------------------


def _lines(check: ProjectCheck) -> Iterator[str]:
    for problem in check.problems:
        yield from _problem(problem, "")
    for job in check.jobs:
        yield f"job {job.name}"
        yield from _facts(job)
        for note in job.notes:
            yield f"  note    {note}"
        for problem in job.problems:
            yield from _problem(problem, "  ")
    count = check.problem_count
    found = count_text(count, "problem") if count else "no problems"
    yield f"{found} in {check.file}" + ("" if check.jobs or count else ": it declares no jobs yet")


def _facts(job: JobCheck) -> Iterator[str]:
    if job.inputs:
        yield f"  reads   {_places(job.inputs)}"
    if job.functions:
        yield f"  calls   {', '.join(job.functions)}"
    if job.outputs:
        yield f"  writes  {_places(job.outputs)}"
    for how in job.runs:
        yield f"  runs    {how}"


def _problem(problem: str, indent: str) -> Iterator[str]:
    first, *rest = problem.split("\n")
    yield f"{indent}problem {first}"
    for line in rest:
        yield f"{indent}        {line}"


def _places(places: Mapping[str, Place | None]) -> str:
    return ", ".join(
        key if place is None else str(place) if place.name == key else f"{key} ({place})"
        for key, place in places.items()
    )


# --- JSON -------------------------------------------------------------------------------------------------


def _document(check: ProjectCheck) -> dict[str, Any]:
    return {
        "project": str(check.file),
        "ok": check.problem_count == 0,
        "problems": check.problems,
        "jobs": [
            {
                "name": job.name,
                "inputs": _place_documents(job.inputs),
                "outputs": _place_documents(job.outputs),
                "functions": job.functions,
                "runs": job.runs,
                "notes": job.notes,
                "problems": job.problems,
            }
            for job in check.jobs
        ],
    }


def _place_documents(places: Mapping[str, Place | None]) -> dict[str, Any]:
    return {key: place and {"kind": place.kind, "name": place.name} for key, place in places.items()}
