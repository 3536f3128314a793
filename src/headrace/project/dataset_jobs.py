"""Jobs over the files of tenants: opening one in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.connect.queue import QueueSource
from headrace.connect.sink import Sink
from headrace.engine.given import functions_of
from headrace.engine.program import Program
from headrace.engine.references import References
from headrace.errors import UserError
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.project.dataset_checks import is_passed, needs, passed
from headrace.project.functions import load_function
from headrace.project.opening import open_references, open_sink
from headrace.series.dataset import open_store
from headrace.series.output_settings import SeriesSettings
from headrace.series.settings import DatasetSettings
from headrace.sql.plan import Script

if TYPE_CHECKING:
    from headrace.engine.dataset_job import DatasetInstance, DatasetJob, SeriesPlace
    from headrace.project.project import Project

#: Points that a query sees whole take so many bytes each.
_QUERIED_POINT_BYTES: Final = 400


@contextlib.contextmanager
def opened_dataset_job(
    project: Project, namespace: Namespace, job: str, instance: int
) -> Iterator[DatasetJob]:
    """Open all that a job over files uses, for one of its instances, and close it at the end.

    Raises `UserError` where what it needs is not installed.
    """
    try:
        from headrace.engine.dataset_job import DatasetJob  # noqa: PLC0415
        from headrace.engine.dataset_worker import Queries, Reads  # noqa: PLC0415
    except ImportError as error:
        raise UserError(needs(error)) from None
    script, settings = project.runnable_script(job), project.job(job)
    name = next(name for name in script.inputs if name in project.datasets)
    dataset = project.datasets[name]
    raw = passed(project, script)
    rest = tuple(output for output in script.outputs if not is_passed(project, script, output))
    references = open_references(project, namespace, job, script)
    with contextlib.ExitStack() as stack:
        sinks: dict[str, Sink] = {}
        for output in dict.fromkeys(output.name for output in script.outputs):
            if not isinstance(project.outputs[output], SeriesSettings):
                sinks[output] = open_sink(project, namespace, job, output, instance)
                stack.callback(sinks[output].close)
        memory_bytes = settings.memory_megabytes * 1_000_000 // settings.threads
        yield DatasetJob(
            name=job,
            reads=Reads(
                source=QueueSource(name, open_work_queue(project, namespace, name), f"{job}/{instance}"),
                stores={key: open_store(place, project.folder) for key, place in dataset.stores.items()},
                batch=dataset.batch,
                max_bad_share=dataset.max_bad_share,
            ),
            queries=Queries(
                raw=raw,
                script=replace(script, outputs=rest) if rest else None,
                made=lambda: _programs(project, replace(script, outputs=rest), references),
                most_points=memory_bytes // _QUERIED_POINT_BYTES,
            ),
            series={output: series_place(project, output) for output in _series_of(project, script)},
            sinks=sinks,
            threads=settings.threads,
            memory_megabytes=settings.memory_megabytes,
            references=references,
        )


def made_dataset_instance(job: DatasetJob, namespace: Namespace, **how: Any) -> DatasetInstance:
    """Return an instance of a job that `opened_dataset_job` opened; `how` is what `DatasetInstance` takes."""
    from headrace.engine.dataset_job import DatasetInstance  # noqa: PLC0415

    return DatasetInstance(job, namespace, **how)


def _series_of(project: Project, script: Script) -> list[str]:
    names = dict.fromkeys(output.name for output in script.outputs)
    return [name for name in names if isinstance(project.outputs[name], SeriesSettings)]


def open_work_queue(project: Project, namespace: Namespace, name: str) -> Queue:
    """Return the work queue of a dataset, with the shares of its tenants."""
    dataset: DatasetSettings = project.datasets[name]
    queue = Queue(
        namespace,
        dataset.queue or name,
        visibility_timeout_s=dataset.visibility_timeout_s,
        max_deliveries=dataset.max_deliveries,
    )
    if project.tenants:
        queue.set_tenants(project.shares)
    return queue


def series_folder(project: Project, name: str) -> Path:
    """Return the folder of a series output."""
    settings = project.outputs[name]
    assert isinstance(settings, SeriesSettings)
    return project.folder / (settings.folder or name)


def series_place(project: Project, name: str) -> SeriesPlace:
    """Return where and how a series output is written."""
    from headrace.engine.dataset_job import SeriesPlace  # noqa: PLC0415

    settings = project.outputs[name]
    assert isinstance(settings, SeriesSettings)
    return SeriesPlace(
        folder=series_folder(project, name),
        layout=settings.layout,
        compact=settings.compact,
        compress=settings.compress,
        retention_days=settings.retention_days,
        of_tenants=_retention(project),
    )


def _retention(project: Project) -> Mapping[str, float]:
    kept = {name: tenant.retention_days for name, tenant in project.tenants.items()}
    return {name: days for name, days in kept.items() if days is not None}


def _programs(project: Project, script: Script, references: References) -> Callable[[], Program]:
    """Return what makes programs that share functions, which one thread uses."""
    called = functions_of(
        {name: load_function(project.folder, name, project.functions[name]) for name in script.functions}
    )
    return lambda: Program(script, called.scorers, aggregates=called.aggregates, references=references)
