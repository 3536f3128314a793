"""Starting a job elsewhere than where it last stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from headrace.connect.source import CompetingSource, OrderedSource
from headrace.engine.starting import Start, positions
from headrace.errors import UserError
from headrace.local.namespace import Namespace
from headrace.local.progress import Positions, Progress
from headrace.names import stage_name
from headrace.project.opening import open_source
from headrace.project.project import Project
from headrace.project.stages import forget_other_exchanges, layout_of, open_exchange_source
from headrace.sql.lookback import lookback_us


@contextlib.contextmanager
def replayable(
    project: Project, namespace: Namespace, job: str, record: Namespace | None = None
) -> Iterator[dict[str, OrderedSource]]:
    """Open the inputs of a job to read them from another place than it reads on from.

    With `record` that is where the files that are begun are put on record, not where the job has its own.

    Raises UserError for an input whose messages cannot be read again.
    """
    script = project.script(job)
    repartitioned = layout_of(project, script).repartitions
    sources: dict[str, OrderedSource] = {}
    with contextlib.ExitStack() as stack:
        for name in script.inputs:
            reader = stage_name(job, name) if name in repartitioned else job
            source = open_source(project, namespace, reader, name, "start", record)
            stack.callback(source.close)
            if isinstance(source, CompetingSource):
                raise UserError(
                    f"job '{job}' can only go on where it stopped: input '{name}' is a queue, whose messages "
                    "are gone once they are done"
                )
            sources[name] = source
        yield sources


def start_job(project: Project, namespace: Namespace, job: str, start: Start) -> None:
    """Let a job that is not running start from `start`; what it kept of earlier events is dropped.

    Raises UserError for an input whose messages cannot be read again.
    """
    if start.where == "last":
        return
    script = project.script(job)
    layout, back_us = layout_of(project, script), lookback_us(script)
    stages: dict[str, Positions] = {}
    with replayable(project, namespace, job) as sources, contextlib.ExitStack() as stack:
        exchanges: dict[str, OrderedSource] = {}
        for name in layout.repartitions:
            stages[stage_name(job, name)] = positions(start, {name: sources.pop(name)}, back_us)
            exchanges[name] = exchange = open_exchange_source(project, namespace, job, name, layout)
            stack.callback(exchange.close)
        # What is between the stages has come of another start.
        behind = positions(Start("now"), exchanges, back_us)
        places = {**positions(start, sources, back_us), **behind}
    Progress(namespace).start_at(job, places, start.output_us, stages)
    forget_other_exchanges(namespace, job, layout)
