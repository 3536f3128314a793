"""A publisher of the campaign, a process of its own that may be killed at any moment.

``python -m headrace.testing.campaign.publisher PROJECT HUB BEGIN_MS DUE_FILE`` publishes the blocks of a hub
as far as the file says that readings are due, as ``headrace send --key sensor`` does. When the file says that
there are no more it publishes the sentinels and ends. Started again, it goes on behind what the hub has.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.clock import Clock, SystemClock
from headrace.project import Project
from headrace.project.places import find_place
from headrace.project.sending import HubTarget, opened_target
from headrace.testing.campaign.events import Timeline, blocks, sentinel

_LOOK_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Due:
    """How many readings may be published by now, and whether those are all."""

    readings: int
    all: bool = False

    def write(self, file: Path) -> None:
        """Tell the publishers."""
        new = file.with_suffix(".new")
        new.write_text(f"{self.readings} {int(self.all)}", "ascii")
        new.replace(file)

    @classmethod
    def read(cls, file: Path) -> Due:
        """Return what the publishers were told last."""
        readings, whole = file.read_text("ascii").split()
        return cls(int(readings), whole == "1")


def publish(target: HubTarget, hub: str, timeline: Timeline, due_file: Path, clock: Clock) -> None:
    """Publish what is due, until there is no more or the campaign is gone."""
    parent = os.getppid()
    number = target.last_sequence(hub) or 0
    for wanted, bodies in blocks(hub, timeline, first=number):
        while (due := Due.read(due_file)).readings < wanted:
            if due.all:
                return publish_sentinels(target, hub, timeline)
            if os.getppid() != parent:
                return None
            clock.sleep(_LOOK_S)
        number += 1
        target.publish_bodies(bodies, producer=hub, sequence=number)
    return None


def publish_sentinels(target: HubTarget, hub: str, timeline: Timeline) -> None:
    """End each partition with an event that is far behind all others."""
    for partition in range(target.hub.partitions):
        producer = f"end of {hub}/{partition}"
        body = sentinel(hub, timeline)
        target.hub.publish_bodies([body], partition=partition, producer=producer, sequence=1)


def main() -> None:
    """Publish until all is published."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("hub")
    parser.add_argument("begin_ms", type=int)
    parser.add_argument("due_file", type=Path)
    arguments = parser.parse_args()
    project = Project.load(arguments.project)
    place = find_place(project, arguments.hub, ("hub",), "to send to")
    with opened_target(project, place, key="sensor") as target:
        assert isinstance(target, HubTarget)
        timeline = Timeline(arguments.begin_ms)
        publish(target, arguments.hub, timeline, arguments.due_file, SystemClock())


if __name__ == "__main__":
    main()
