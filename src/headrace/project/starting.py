"""Starting a job elsewhere than where it last stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from headrace.connect.source import CompetingSource, OrderedSource
from headrace.engine.starting import Start, positions
from headrace.errors import Transient, UserError
from headrace.local.namespace import Namespace
from headrace.local.progress import Positions, Progress
from headrace.names import stage_name
from headrace.project.opening import open_source
from headrace.project.project import Project
from headrace.project.stages import Layout, forget_other_exchanges, layout_of, open_exchange_source
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
    for name in script.inputs:
        if name in project.datasets:
            raise UserError(
                f"job '{job}' can only go on where it stopped: input '{name}' is a dataset, whose work queue "
                "forgets the files that are done. Enqueue them again with `headrace tags enqueue`"
            )
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


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a job and its stages read on, by task."""

    job: str
    layout: Layout
    own: Positions
    stages: Mapping[str, Positions]


def start_jobs(project: Project, namespace: Namespace, jobs: Sequence[str], start: Start) -> None:
    """Let jobs that are not running start from `start`; what they kept of earlier events is dropped.

    Raises UserError for an input whose messages cannot be read again and for a time that is still to come,
    Transient while an instance of an earlier run has not ended; then no job is changed.
    """
    if start.where == "last":
        return
    if start.time_us > namespace.clock.now_us():
        raise UserError("the output cannot begin at a time that is still to come: say --from now")
    for job in jobs:
        for name in (job, *(stage_name(job, spread) for spread in project.script(job).inputs)):
            _check_ended(Progress(namespace), name)
    for places in [_places(project, namespace, job, start) for job in jobs]:
        Progress(namespace).start_at(places.job, places.own, start.output_us, places.stages)
        forget_other_exchanges(namespace, places.job, places.layout)


def _check_ended(progress: Progress, job: str) -> None:
    """Raise Transient if what an instance has committed may still be on its way."""
    left = [state for state in progress.instances(job) if progress.is_held(job, state.instance)]
    if left:
        raise Transient(
            f"job '{job}' cannot start elsewhere: {left[0].instance} of an earlier run, process "
            f"{left[0].pid}, has not ended yet. Wait a moment, or end it"
        )


def _places(project: Project, namespace: Namespace, job: str, start: Start) -> _Places:
    script = project.script(job)
    layout, back_us = layout_of(project, script), lookback_us(script)
    stages: dict[str, Positions] = {}
    with replayable(project, namespace, job) as sources, contextlib.ExitStack() as stack:
        exchanges: dict[str, OrderedSource] = {}
        for name in layout.repartitions:
            exchanges[name] = exchange = open_exchange_source(project, namespace, job, name, layout)
            stack.callback(exchange.close)
            source = {name: sources.pop(name)}
            stages[stage_name(job, name)] = positions(start, source, back_us, exchange.identity)
        # What is between the stages has come of another start.
        behind = positions(Start("now"), exchanges, back_us)
        return _Places(job, layout, {**positions(start, sources, back_us), **behind}, stages)
