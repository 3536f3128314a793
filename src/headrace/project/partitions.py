"""How a project's inputs are partitioned, and so how its jobs run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from headrace.connect.hub import HubSettings
from headrace.connect.queue import QueueSettings
from headrace.local.hub import Hub
from headrace.sql.partitioning import Cut, InputPartitions, cut
from headrace.sql.plan import Script

if TYPE_CHECKING:  # a project runs itself through this module
    from headrace.project.project import Project


def input_partitions(project: Project, names: Iterable[str]) -> dict[str, InputPartitions]:
    """Return what is known of how inputs are partitioned, by name; nothing is made.

    A hub that is there has the partitions that it was made with. Messages of a queue are in none, so queues
    are left out; any other input is one.
    """
    streams = {name: project.streams[name] for name in names}
    return {
        name: _partitions(project, name, settings)
        for name, settings in streams.items()
        if not isinstance(settings, QueueSettings)
    }


def _partitions(project: Project, name: str, settings: msgspec.Struct) -> InputPartitions:
    if isinstance(settings, HubSettings):
        return InputPartitions(hub_partitions(project, name, settings), settings.key)
    return InputPartitions(1)


def hub_partitions(project: Project, name: str, settings: HubSettings) -> int:
    """Return how many partitions the hub of an input has, or will have once it is made."""
    folder, own = project.data / "hubs", settings.hub or name
    if own not in Hub.names(folder):
        return settings.partitions
    with Hub.open(folder, own, looking=True) as hub:
        return hub.partitions


def job_cut(project: Project, script: Script) -> Cut:
    """Return how a job with the query `script` is cut."""
    if any(name in project.datasets for name in script.inputs):
        reason = "runs on any number of threads, which compete for files; each file is a stream of its own"
        return Cut(per_partition=True, reason=reason)
    inputs = input_partitions(project, script.inputs)
    if not inputs:
        reason = "runs on any number of instances, which compete for messages"
        return Cut(per_partition=True, reason=reason)
    return cut(script, inputs)
