"""The datasets of a project: which input is meant, its stores and its work queue."""

from __future__ import annotations

from headrace.errors import UserError, did_you_mean
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.project.project import Project
from headrace.series.dataset import FileStore, open_store
from headrace.series.enqueue import Enqueuer


def find_dataset(project: Project, name: str | None) -> str:
    """Return the dataset input called `name`, or the only one; raises `UserError` if that is none."""
    known = ", ".join(project.datasets) or "none"
    if name is None and len(project.datasets) == 1:
        return next(iter(project.datasets))
    if name is None:
        raise UserError(f'name the input of kind = "dataset" that is meant; there are: {known}')
    if name not in project.datasets:
        hint = did_you_mean(name, project.datasets)
        raise UserError(
            f'no input of kind = "dataset" is called {name!r}; there are: {known}. {hint}'.rstrip()
        )
    return name


def open_stores(project: Project, name: str) -> dict[str, FileStore]:
    """Return the stores of a dataset input by their keys."""
    return {
        store: open_store(place, project.folder) for store, place in project.datasets[name].stores.items()
    }


def work_queue(project: Project, namespace: Namespace, name: str) -> Queue:
    """Return the queue that names the files of a dataset input."""
    settings = project.datasets[name]
    return Queue(
        namespace,
        settings.queue or name,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_deliveries=settings.max_deliveries,
    )


def open_enqueuer(project: Project, namespace: Namespace, name: str) -> Enqueuer:
    """Return what lists the files of a dataset input into its work queue."""
    return Enqueuer(namespace, work_queue(project, namespace, name), open_stores(project, name))
