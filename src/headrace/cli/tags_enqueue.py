"""List the files of all tenants' datasets into the work queue, each once.

A file that was enqueued as it is, with the same size and the same time or etag, is passed over, also when an
earlier call was interrupted; one that was written to since then is enqueued again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import count_text, note, print_json, shortened, waiting
from headrace.local.namespace import Namespace
from headrace.project import Project
from headrace.project.datasets import find_dataset, open_enqueuer, work_queue
from headrace.series.enqueue import Enqueued


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser(
        "enqueue", help="list the files of datasets into the work queue", description=plain(__doc__)
    )
    parser.add_argument("input", metavar="INPUT", nargs="?", help="the dataset (default: the only one)")
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Enqueue what is new; exit code 1 if a folder cannot be a tenant's."""
    project = Project.load(Path(arguments.project))
    name = find_dataset(project, arguments.input)
    with Namespace.open(project.data) as namespace, waiting(f"listing files of {name}") as show:
        enqueuer = open_enqueuer(project, namespace, name)
        for done in enqueuer.enqueue():
            show(f"{count_text(done.files, 'file')} enqueued, {done.there_already:,} there already")
        tell(enqueuer.done, work_queue(project, namespace, name).name, as_json=arguments.json)
    return 1 if enqueuer.done.refused else 0


def tell(done: Enqueued, queue: str, *, as_json: bool) -> None:
    """Print what was enqueued."""
    for folder, reason in done.refused.items():
        note(f"passed over {shortened(folder)}: {reason}")
    if as_json:
        print_json(
            {
                "queue": queue,
                "enqueued": done.files,
                "size_bytes": done.size_bytes,
                "there_already": done.there_already,
                "passed_over": done.refused,
            }
        )
        return
    size = f"{count_text(done.files, 'file')} ({done.size_bytes / 1e6:,.1f} MB)"
    were = "was" if done.there_already == 1 else "were"
    already = f"; {done.there_already:,} {were} enqueued before" if done.there_already else ""
    print(f"enqueued {size} in queue '{queue}'{already}")
