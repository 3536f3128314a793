"""From a project to a job that is open in this process: hubs, queues, tables and functions ready to use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from headrace.connect.callable import CallableSink, PythonSettings
from headrace.connect.console import ConsoleSettings, ConsoleSink
from headrace.connect.exchange import ExchangeSink
from headrace.connect.file_output_settings import FileOutputSettings, open_file_sink
from headrace.connect.files import FileSettings, FileSource
from headrace.connect.hub import HubSettings, HubSink, HubSource, open_hub
from headrace.connect.postgresql import PostgresqlSettings, postgresql_sink
from headrace.connect.queue import QueueSettings, QueueSink, QueueSource, open_queue
from headrace.connect.sink import Sink
from headrace.connect.source import Source
from headrace.connect.sqlite import SqliteSettings, sqlite_sink
from headrace.connect.table import TableSettings, TableSink
from headrace.connect.topic import Topic, TopicOutputSettings, TopicSink
from headrace.connect.webhook import WebhookSettings, WebhookSink
from headrace.engine.given import functions_of
from headrace.engine.joins.reference import Reference
from headrace.engine.open_job import OpenJob, instance_name
from headrace.engine.passing import Stage, stage_script
from headrace.engine.program import Program
from headrace.engine.references import References
from headrace.errors import UserError
from headrace.local.input_files import InputFiles
from headrace.local.namespace import Namespace
from headrace.local.reference_versions import VersionRecord
from headrace.local.staged import path_on_record, published_bytes
from headrace.local.table import Table
from headrace.names import STAGE_MARK
from headrace.project.columns import columns_of
from headrace.project.files import check_outside, is_written
from headrace.project.functions import load_function, python_function
from headrace.project.project import Project
from headrace.project.references import FileReference
from headrace.project.stages import input_ends, layout_of, open_exchange_hub, open_exchange_source
from headrace.series.output_settings import SeriesSettings
from headrace.sql.plan import Script


@contextlib.contextmanager
def opened_job(project: Project, namespace: Namespace, job: str, instance: int) -> Iterator[OpenJob]:
    """Open all that `job` uses, for one of its instances, and close it at the end.

    It may be the name of a stage, see `stage_name`.
    """
    if STAGE_MARK in job:
        with _opened_stage(project, namespace, job, instance) as stage:
            yield stage
        return
    script = project.runnable_script(job)
    references = open_references(project, namespace, job, script)
    program, layout = open_program(project, script, references), layout_of(project, script)
    with contextlib.ExitStack() as stack:
        sources: dict[str, Source] = {}
        for name in script.inputs:
            if name in layout.repartitions:
                sources[name] = open_exchange_source(project, namespace, job, name, layout)
            else:
                sources[name] = open_source(project, namespace, job, name, str(instance))
            stack.callback(sources[name].close)
        sinks: dict[str, Sink] = {}
        for name in dict.fromkeys(output.name for output in script.outputs):
            sinks[name] = sink = open_sink(project, namespace, job, name, instance)
            stack.callback(sink.close)
        settings = project.job(job)
        yield OpenJob(
            job,
            program,
            sources,
            sinks,
            settings.policy,
            per_partition=layout.per_partition,
            bad=settings.bad,
            references=references,
        )


@contextlib.contextmanager
def _opened_stage(project: Project, namespace: Namespace, stage: str, instance: int) -> Iterator[OpenJob]:
    """Open the stage of a job that repartitions an input for it."""
    job, _, name = stage.partition(STAGE_MARK)
    script = project.runnable_script(job)
    layout = layout_of(project, script)
    repartition = layout.repartitions[name]
    with contextlib.ExitStack() as stack:
        source = open_source(project, namespace, stage, name, str(instance))
        stack.callback(source.close)
        sink = ExchangeSink(open_exchange_hub(namespace, job, name, repartition))
        stack.callback(sink.close)
        yield OpenJob(
            stage,
            Program(stage_script(script, name, repartition), {}),
            {name: source},
            {},
            project.job(job).policy,
            per_partition=True,
            stage=Stage(job, script, name, layout.inputs[name].count, repartition, sink),
            ends=all(input_ends(project, other) for other in script.inputs),
            bad=project.job(job).bad,
        )


def open_references(project: Project, namespace: Namespace, job: str, script: Script) -> References:
    """Return the reference data that a query names; what is noticed of them is put on record."""
    return References(
        {
            name: FileReference(
                name, project.references[name], project.folder, VersionRecord(namespace, job, name)
            )
            for name in script.references
        }
    )


def open_program(
    project: Project, script: Script, references: Mapping[str, Reference] | None = None
) -> Program:
    """Return a job's query with its functions, and its reference data: as files are now if not given."""
    called = functions_of(
        {name: load_function(project.folder, name, project.functions[name]) for name in script.functions}
    )
    if references is None:
        references = {name: project.reference(name) for name in script.references}
    return Program(script, called.scorers, aggregates=called.aggregates, references=references)


def open_source(
    project: Project, namespace: Namespace, job: str, name: str, reader: str, record: Namespace | None = None
) -> Source:
    """Open an input of a job; `reader` is who of the job holds the leases of a competing one.

    Files that are begun are put on record in `record`, by default in `namespace`.
    """
    match project.streams[name]:
        case HubSettings() as hub:
            opened_hub = open_hub(namespace.hubs_folder, name, hub)
            return HubSource(name, opened_hub, hub.format, hub.delimiter)
        case QueueSettings() as queue:
            opened = open_queue(namespace, name, queue)
            opened.set_tenants(project.shares)
            return QueueSource(name, opened, f"{job}/{reader}", queue.format, queue.delimiter)
        case FileSettings() as files:
            return _file_source(project, namespace, name, files, InputFiles(record or namespace, job, name))


def open_sink(project: Project, namespace: Namespace, job: str, name: str, instance: int) -> Sink:
    """Open an output of a job for one of its instances."""
    match project.outputs[name]:
        case TableSettings() as table:
            return TableSink(Table(namespace, table.table or name), table)
        case QueueSettings() as queue:
            return QueueSink(open_queue(namespace, name, queue))
        case HubSettings() as hub:
            return HubSink(open_hub(namespace.hubs_folder, name, hub), hub.key)
        case FileOutputSettings() as file:
            return open_file_sink(
                namespace,
                project.folder,
                file,
                _columns(project.script(job), name),
                job=job,
                output=name,
                instance=instance,
                line=instance_name(instance),
            )
        case ConsoleSettings():
            return ConsoleSink()
        case WebhookSettings() as webhook:
            return WebhookSink(name, webhook, namespace.identity())
        case SqliteSettings() as sqlite:
            check_outside(name, project.folder / (sqlite.path or ""), project.data)
            return sqlite_sink(name, sqlite, project.folder, namespace.identity())
        case PostgresqlSettings() as postgresql:
            return postgresql_sink(name, postgresql, namespace.identity())
        case PythonSettings() as python:
            function = python_function(project.folder, f"outputs.{name}.python", python.python or "")
            return CallableSink(name, function, namespace.identity(), python.patience)
        case SeriesSettings():  # its points are written by the job itself
            raise UserError(f"output '{name}' is a series, which only jobs that read a dataset write")
        case TopicOutputSettings() as topic:
            own = topic.topic or name
            return TopicSink(Topic(namespace, own, project.subscriptions.get(own, [])))


def _columns(script: Script, output: str) -> tuple[str, ...] | None:
    """Return the columns that a query writes to an output, None if the data name some of them."""
    names: list[str] = []
    for columns in (columns_of(script, to.relation) for to in script.outputs if to.name == output):
        if columns is None:
            return None
        names += columns
    return tuple({name.casefold(): name for name in reversed(names)}.values())[::-1]


def _file_source(
    project: Project, namespace: Namespace, name: str, settings: FileSettings, record: InputFiles
) -> FileSource:
    """Open files as an input; of those that jobs of the project write only what is committed is read."""
    if not is_written(project.folder, settings, project.outputs.values()):
        return FileSource(name, settings, project.folder, record)
    return FileSource(
        name,
        settings,
        project.folder,
        record,
        limit=lambda file: published_bytes(namespace, path_on_record(project.folder, file)),
    )
