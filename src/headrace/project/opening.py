"""From a project to a job that is open in this process: hubs, queues, tables and functions ready to use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from headrace.connect.console import ConsoleSettings, ConsoleSink
from headrace.connect.hub import HubSettings, HubSink, HubSource, open_hub
from headrace.connect.queue import QueueSettings, QueueSink, QueueSource, open_queue
from headrace.connect.sink import Sink
from headrace.connect.source import Source
from headrace.connect.table import TableSettings, TableSink
from headrace.connect.webhook import WebhookSettings, WebhookSink
from headrace.engine.given import functions_of
from headrace.engine.job import OpenJob
from headrace.engine.program import Program
from headrace.local.namespace import Namespace
from headrace.local.table import Table
from headrace.project.functions import load_function
from headrace.project.project import Project
from headrace.project.settings import OutputSettings, StreamSettings


@contextlib.contextmanager
def opened_job(project: Project, namespace: Namespace, job: str, instance: int) -> Iterator[OpenJob]:
    """Open all that `job` uses, for one of its instances, and close it at the end."""
    script = project.runnable_script(job)
    called = functions_of(
        {name: load_function(project.folder, name, project.functions[name]) for name in script.functions}
    )
    references = {name: project.reference(name) for name in script.references}
    program = Program(script, called.scorers, aggregates=called.aggregates, references=references)
    with contextlib.ExitStack() as stack:
        sources: dict[str, Source] = {}
        for name in script.inputs:
            sources[name] = source = open_source(namespace, name, project.streams[name], f"{job}/{instance}")
            stack.callback(source.close)
        sinks: dict[str, Sink] = {}
        for name in dict.fromkeys(output.name for output in script.outputs):
            sinks[name] = sink = open_sink(namespace, name, project.outputs[name])
            stack.callback(sink.close)
        yield OpenJob(job, program, sources, sinks, project.job(job).policy)


def open_source(namespace: Namespace, name: str, settings: StreamSettings, owner: str) -> Source:
    """Open an input; `owner` is who holds the leases of a competing one."""
    match settings:
        case HubSettings():
            return HubSource(name, open_hub(namespace.hubs_folder, name, settings))
        case QueueSettings():
            return QueueSource(name, open_queue(namespace, name, settings), owner)


def open_sink(namespace: Namespace, name: str, settings: OutputSettings) -> Sink:
    """Open an output."""
    match settings:
        case TableSettings():
            return TableSink(Table(namespace, settings.table or name), settings)
        case QueueSettings():
            return QueueSink(open_queue(namespace, name, settings))
        case HubSettings():
            return HubSink(open_hub(namespace.hubs_folder, name, settings), settings.key)
        case ConsoleSettings():
            return ConsoleSink()
        case WebhookSettings():
            return WebhookSink(name, settings)
