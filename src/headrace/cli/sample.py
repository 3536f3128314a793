"""Copy events of a live input to a file of JSON lines, to look at them and to try queries on.

INPUT is a hub, a queue, files or the address of a feed. The newest N events that are there are taken; if
there are fewer, those that come within the next seconds are as well, unless it is files. Nothing is taken
away: no offset moves, no message is leased.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.cli.numbers import at_least, duration
from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import count_text, note, print_json
from headrace.cli.stopping import STEP_S, asked_to_stop
from headrace.clock import Clock, SystemClock
from headrace.connect.feeds.fetch import HttpFetch
from headrace.connect.feeds.poll import FeedPoller
from headrace.connect.file_output_settings import FileOutputSettings
from headrace.connect.files import FileSettings
from headrace.connect.hub import HubSettings, open_hub
from headrace.connect.queue import QueueSettings
from headrace.connect.topic import subscription_queue
from headrace.errors import Transient, UserError
from headrace.events.formats.json import objects_of
from headrace.local.browse import newest_messages
from headrace.local.files import replacing
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.project import Project
from headrace.project.latest import events_between, last_lines, newest_events
from headrace.project.places import find_place
from headrace.project.settings import Place

EVENTS: Final = 100
WAIT_S: Final = 5.0

#: Gives the next bodies of an input, oldest first: at the first call the newest that are there.
Look = Callable[[int], list[bytes]]


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "sample",
        help="copy events of an input to a file",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT", help="an input, a hub, a queue, or the URL of a feed")
    parser.add_argument(
        "-n", type=at_least(1), default=EVENTS, metavar="N", help=f"events to copy ({EVENTS})"
    )
    parser.add_argument("-o", type=Path, metavar="FILE", help="where to (default: standard output)")
    parser.add_argument(
        "--seconds",
        type=duration,
        default=WAIT_S,
        metavar="S",
        help=f"how long to wait where there are fewer than N ({WAIT_S:g})",
    )
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Collect events, then write them: the file appears whole or not at all."""
    if arguments.json and arguments.o is None:
        raise UserError(
            "--json tells what was written to a file: give -o FILE. The events are JSON without it"
        )
    sample = Sample(arguments.n)
    if arguments.input.startswith(("http://", "https://")):
        name = "the feed"
        sample.add(_papers(arguments.input))
    else:
        project = Project.load(Path(arguments.project))
        kinds, others = ("hub", "queue", "file"), _subscriptions(project)
        place = find_place(project, arguments.input, kinds, "to take a sample of", others=others)
        name = str(place)
        fill(sample, project, place, arguments.seconds)
    _write(sample, name, arguments)
    return 0


def _subscriptions(project: Project) -> list[Place]:
    """Return the queues of topics, of which some are named by outputs only."""
    return [
        Place("queue", subscription_queue(topic, subscription.name), QueueSettings())
        for topic, subscriptions in project.subscriptions.items()
        for subscription in subscriptions
    ]


def fill(sample: Sample, project: Project, place: Place, seconds: float) -> None:
    """Take the newest events of a place, waiting for as long as `seconds` if there are too few."""
    if isinstance(place.settings, FileSettings | FileOutputSettings):
        files = place.settings
        if isinstance(files, FileOutputSettings):
            files = FileSettings(files.pattern(0), files.written_format, files.compression, files.delimiter)
        sample.add(last_lines(project.folder, files, sample.wanted))
        return
    with Namespace.open(project.data, looking=True) as namespace:
        if isinstance(place.settings, HubSettings):
            with _looked_at(namespace.hubs_folder, place.name, place.settings) as hub:
                _collect(sample, HubLook(hub), str(place), seconds)
        else:
            _collect(sample, QueueLook(namespace, place.name), str(place), seconds)


def _looked_at(folder: Path, name: str, settings: HubSettings) -> Hub:
    if name in Hub.names(folder):
        return Hub.open(folder, name, looking=True)
    return open_hub(folder, name, settings)


# --- collecting -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sample:
    """Events as lines of JSON; what holds no JSON object is counted in `bad`."""

    wanted: int
    lines: list[bytes] = field(default_factory=list)
    bad: int = 0

    @property
    def missing(self) -> int:
        """How many more lines are wanted."""
        return self.wanted - len(self.lines)

    def add(self, bodies: list[bytes]) -> None:
        """Take the objects in `bodies`, an event being one or several, as far as they are wanted."""
        for body in bodies:
            try:
                texts = list(_objects(body))
            except (ValueError, msgspec.MsgspecError, RecursionError):
                self.bad += 1
                continue
            self.lines += texts[: self.missing]


def _objects(body: bytes) -> Iterator[bytes]:
    for text in objects_of(body):
        text.decode()
        msgspec.json.decode(text, type=msgspec.Raw)
        # JSON has no line break inside a string, so one between tokens can as well be a space.
        yield text.replace(b"\r", b" ").replace(b"\n", b" ")


def _collect(sample: Sample, look: Look, name: str, seconds: float, clock: Clock | None = None) -> None:
    clock = clock or SystemClock()
    deadline_ns = clock.monotonic_ns() + int(seconds * 1e9)
    sample.add(look(sample.missing))
    if sample.missing and seconds > 0:
        note(f"{name} has {count_text(len(sample.lines), 'event')}; waiting {seconds:g} s for more")
    with asked_to_stop() as stopped:
        while sample.missing and clock.monotonic_ns() < deadline_ns and not stopped():
            clock.sleep(STEP_S)
            sample.add(look(sample.missing))


class HubLook:
    """Looks at a hub: first at its newest events, then at what comes."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._offsets: list[int] | None = None

    def __call__(self, wanted: int) -> list[bytes]:
        """Return bodies in the order of their enqueued times."""
        starts, self._offsets = self._offsets, self._hub.ends()
        if starts is None:
            events = newest_events(self._hub, wanted)
        else:
            events = sorted(events_between(self._hub, starts, self._offsets))
        return [event.body for event in events]


class QueueLook:
    """Looks at a queue: first at its newest messages, then at what comes."""

    def __init__(self, namespace: Namespace, queue: str) -> None:
        self._namespace, self._queue = namespace, queue
        self._last_id = 0

    def __call__(self, wanted: int) -> list[bytes]:
        """Return bodies in the order they were sent."""
        found = newest_messages(self._namespace, self._queue, limit=wanted, after=self._last_id)
        self._last_id = found[-1].id if found else self._last_id
        return [message.body for message in found]


def _papers(url: str) -> list[bytes]:
    polled = FeedPoller(url, fetch=HttpFetch(), clock=SystemClock()).poll()
    if polled.error is not None:
        raise polled.error
    return list(polled.events)


# --- writing ----------------------------------------------------------------------------------------------


def _write(sample: Sample, name: str, arguments: argparse.Namespace) -> None:
    if sample.bad:
        note(f"{count_text(sample.bad, 'event')} left out: not JSON. `headrace peek` shows them")
    if not sample.lines:
        came = "no events came" if not sample.bad else "no events but these came"
        raise Transient(f"{came} from {name}; --seconds S waits longer. Nothing was written")
    text = b"".join(line + b"\n" for line in sample.lines)
    if arguments.o is None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return
    with replacing(arguments.o) as file:
        file.write(text)
    if arguments.json:
        print_json({"input": arguments.input, "events": len(sample.lines), "file": str(arguments.o)})
    else:
        note(f"wrote {count_text(len(sample.lines), 'event')} of {name} to {arguments.o}")
