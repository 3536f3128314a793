"""Running a job's query once more over what its inputs have stored, beside the job and its outputs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.connect.console import ConsoleSink
from headrace.connect.file_output import FileSink
from headrace.connect.sink import Sink
from headrace.engine.job import Instance
from headrace.engine.open_job import OpenJob, instance_name
from headrace.engine.starting import Start, positions
from headrace.errors import UserError
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.staged import StagedFile
from headrace.project.opening import open_program
from headrace.project.project import Project
from headrace.project.stages import layout_of
from headrace.project.starting import replayable
from headrace.sql.lookback import lookback_us


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to: events read, rows written, and events and rows that failed."""

    events: int
    rows: int
    dead: int


def replay(project: Project, job: str, start: Start, into: Path | None = None) -> Replayed:
    """Run the query of `job` from `start` to the end of what is stored.

    Rows go to a file of JSON lines for each output in the folder `into`, or to standard output. The job, its
    positions, its state and its outputs are not touched, and it may be running; of files those that are there
    now are read. Raises UserError for an input that is gone once it is read, and for a file that is there
    already.
    """
    if start.where in {"last", "now"}:
        raise UserError(
            f"a replay cannot start from '{start.where}': say beginning, or a time such as "
            "2026-03-01T12:00:00Z"
        )
    script = project.runnable_script(job)
    layout = layout_of(project, script)
    outputs = list(dict.fromkeys(output.name for output in script.outputs))
    with contextlib.ExitStack() as stack:
        namespace = stack.enter_context(Namespace.open(project.data, create=False))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        scratch = stack.enter_context(Namespace.open(Path(folder)))
        sources = stack.enter_context(replayable(project, namespace, job, record=scratch))
        sinks = _sinks(scratch, job, outputs, into)
        for sink in sinks.values():
            stack.callback(sink.close)
        progress = Progress(scratch)
        progress.start_at(job, positions(start, sources, lookback_us(script)), start.output_us)
        progress.request_stop(job, "end")
        # Where the job is a task per partition its windows close by the time of each, so here, too.
        per_partition = layout.per_partition and not layout.repartitions
        program = open_program(project, script)
        opened = OpenJob(job, program, sources, sinks, project.job(job).policy, per_partition)
        Instance(opened, scratch).run()
        counts = progress.counts(job)
    return Replayed(counts.get("events_in", 0), counts.get("rows_out", 0), counts.get("dead", 0))


def _sinks(scratch: Namespace, job: str, outputs: list[str], into: Path | None) -> Mapping[str, Sink]:
    if into is None:
        return {name: ConsoleSink(kept=False) for name in outputs}
    paths = {name: f"{name}.jsonl" for name in outputs}
    for path in paths.values():
        if (into / path).exists():
            raise UserError(f"{into / path} is there already: name another folder, or remove it")
    line = instance_name(0)
    return {name: FileSink(StagedFile(scratch, job, line, name), into, path) for name, path in paths.items()}
