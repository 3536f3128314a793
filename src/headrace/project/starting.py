"""Starting a job elsewhere than where it last stopped."""

from __future__ import annotations

import contextlib

from headrace.connect.source import CompetingSource, OrderedSource
from headrace.engine.starting import Start, positions
from headrace.errors import UserError
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.project.opening import open_source
from headrace.project.project import Project
from headrace.sql.lookback import lookback_us


def start_job(project: Project, namespace: Namespace, job: str, start: Start) -> None:
    """Let a job that is not running start from `start`; what it kept of earlier events is dropped.

    Raises UserError for an input whose messages cannot be read again.
    """
    if start.where == "last":
        return
    script = project.script(job)
    sources: dict[str, OrderedSource] = {}
    with contextlib.ExitStack() as stack:
        for name in script.inputs:
            source = open_source(project, namespace, job, name, "start")
            stack.callback(source.close)
            if isinstance(source, CompetingSource):
                raise UserError(
                    f"job '{job}' cannot start from another place: input '{name}' is a queue, whose messages "
                    "are gone once they are done. Leave --from away"
                )
            sources[name] = source
        places = positions(start, sources, lookback_us(script))
    from_us = start.time_us if start.where == "time" else None
    Progress(namespace).start_at(job, places, from_us)
