"""Starting a job elsewhere than where it last stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from headrace.connect.source import CompetingSource, OrderedSource
from headrace.engine.starting import Start, positions
from headrace.errors import UserError
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.project.opening import open_source
from headrace.project.project import Project
from headrace.sql.lookback import lookback_us


@contextlib.contextmanager
def replayable(project: Project, namespace: Namespace, job: str) -> Iterator[dict[str, OrderedSource]]:
    """Open the inputs of a job to read them from another place than it reads on from.

    Raises UserError for an input whose messages cannot be read again.
    """
    sources: dict[str, OrderedSource] = {}
    with contextlib.ExitStack() as stack:
        for name in project.script(job).inputs:
            source = open_source(project, namespace, job, name, "start")
            stack.callback(source.close)
            if isinstance(source, CompetingSource):
                raise UserError(
                    f"job '{job}' cannot start from another place: input '{name}' is a queue, whose messages "
                    "are gone once they are done. Leave --from away"
                )
            sources[name] = source
        yield sources


def start_job(project: Project, namespace: Namespace, job: str, start: Start) -> None:
    """Let a job that is not running start from `start`; what it kept of earlier events is dropped.

    Raises UserError for an input whose messages cannot be read again.
    """
    if start.where == "last":
        return
    with replayable(project, namespace, job) as sources:
        places = positions(start, sources, lookback_us(project.script(job)))
    Progress(namespace).start_at(job, places, start.output_us)
