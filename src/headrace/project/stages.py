"""Jobs in two stages: which inputs a stage of its own repartitions, and where the hubs between stages are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.connect.exchange import ExchangeSource, forget_exchanges, open_exchange
from headrace.connect.files import FileSettings
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.names import safe_file_stem
from headrace.project.partitions import input_partitions
from headrace.sql.partitioning import InputPartitions, Repartition, cut, keeps_nothing, repartitions
from headrace.sql.plan import Script

if TYPE_CHECKING:  # a project runs itself through this module
    from headrace.project.project import Project


@dataclass(frozen=True, slots=True)
class Layout:
    """How a job is cut: as a task for each partition or as one, and the inputs repartitioned for it."""

    per_partition: bool
    inputs: Mapping[str, InputPartitions]
    repartitions: Mapping[str, Repartition]


def layout_of(project: Project, script: Script) -> Layout:
    """Return how a job with the query `script` is cut, as its hubs are now; nothing is made."""
    if keeps_nothing(script) or any(name in project.datasets for name in script.inputs):
        return Layout(per_partition=True, inputs={}, repartitions={})
    inputs = input_partitions(project, script.inputs)
    return Layout(cut(script, inputs).per_partition, inputs, repartitions(script, inputs))


def stages_of(project: Project, job: str) -> list[str]:
    """Return the inputs of a job that a stage of their own repartitions."""
    return list(layout_of(project, project.script(job)).repartitions)


def input_ends(project: Project, name: str) -> bool:
    """Tell whether an input is whole once it has been read to its end."""
    return isinstance(project.streams[name], FileSettings)


def open_exchange_hub(namespace: Namespace, job: str, name: str, repartition: Repartition) -> Hub:
    """Open the hub between the stages of a job for one of its inputs, making it when it is missing."""
    return open_exchange(_folder(namespace, job, repartition), name, repartition.count)


def look_at_exchange(namespace: Namespace, job: str, name: str, repartition: Repartition) -> Hub | None:
    """Open the hub between the stages of a job, only to look; None if there is none yet."""
    folder = _folder(namespace, job, repartition)
    return Hub.open(folder, name, looking=True) if name in Hub.names(folder) else None


def open_exchange_source(
    project: Project, namespace: Namespace, job: str, name: str, layout: Layout
) -> ExchangeSource:
    """Open an input of a job that another stage repartitions."""
    repartition = layout.repartitions[name]
    return ExchangeSource(
        name,
        open_exchange_hub(namespace, job, name, repartition),
        places=layout.inputs[name].count,
        rule=repartition.rule,
        ends=input_ends(project, name),
    )


def forget_other_exchanges(namespace: Namespace, job: str, layout: Layout) -> None:
    """Delete the hubs between stages that a job has had and that are of no use for it now."""
    kept = {_folder(namespace, job, repartition) for repartition in layout.repartitions.values()}
    forget_exchanges(_job_folder(namespace, job), kept)


def _job_folder(namespace: Namespace, job: str) -> Path:
    return namespace.exchanges_folder / safe_file_stem(job)


def _folder(namespace: Namespace, job: str, repartition: Repartition) -> Path:
    digest = hashlib.sha256(repartition.rule.encode()).hexdigest()[:16]
    return _job_folder(namespace, job) / f"{repartition.count}-{digest}"
