"""Publish events to a hub or a queue of the project.

FILEs end in .jsonl, .ndjson, .json (lines, one array or one object), .csv, .tsv or .parquet (an event a row),
or in .xml, .atom, .rss, .rdf (feed documents of papers); - is standard input, a JSON event a line.

Sending a file again stores nothing twice, however the first attempt ended: the events of a file are known by
its name and content, and sending goes on behind the last one that was stored. A file that has changed is
another file. --again sends it once more; --producer ID gives all events of this call a name of your own
instead, under which the same events, from the same beginning, are stored once.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from headrace.cli.numbers import at_least, duration
from headrace.cli.options import add_json, add_project, plain
from headrace.cli.send_report import Report
from headrace.cli.show import count_text, note
from headrace.cli.stopping import STEP_S, asked_to_stop
from headrace.clock import SystemClock
from headrace.connect.event_files import EventFile, line_events, text_events
from headrace.connect.feeds.fetch import HttpFetch
from headrace.connect.feeds.files import FEED_SUFFIXES, papers_from_file
from headrace.connect.feeds.poll import DEFAULT_INTERVAL_S, FeedPoller, Polled
from headrace.connect.feeds.publish import publish_new
from headrace.connect.feeds.state import StateFile
from headrace.connect.hub import HubSettings, open_hub
from headrace.connect.live_input import LiveInput
from headrace.errors import UserError
from headrace.limits import MAX_BLOCK_BYTES
from headrace.local.hub import Hub
from headrace.project import Project
from headrace.project.places import find_place
from headrace.project.sending import BLOCK_EVENTS, HubTarget, QueueTarget, Sending, opened_target
from headrace.project.settings import Place


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "send",
        help="publish events to a hub or queue: files, standard input, feeds",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="TARGET", help="an input or output, or the name of a hub or queue")
    parser.add_argument("files", nargs="*", metavar="FILE", help="files to send; - is standard input")
    parser.add_argument("--feed", metavar="URL", help="ask this feed (RSS, Atom) and send its new papers")
    parser.add_argument("--follow", action="store_true", help="with --feed: go on asking until stopped")
    parser.add_argument(
        "--interval-s",
        type=duration,
        default=DEFAULT_INTERVAL_S,
        metavar="S",
        help=f"with --feed: seconds between two questions, at least (default: {DEFAULT_INTERVAL_S:g})",
    )
    parser.add_argument("--lines", metavar="FIELD", help='send lines of text, each as {"FIELD": "the line"}')
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="send only the first N events")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--key", metavar="COLUMN", help="events of one value in this column share a partition")
    where.add_argument(
        "--partition", type=at_least(0), metavar="N", help="the partition for all (default: in turn)"
    )
    twice = parser.add_mutually_exclusive_group()
    twice.add_argument("--producer", metavar="ID", help="the name under which these events are stored once")
    twice.add_argument("--again", action="store_true", help="store the events even if they were sent before")
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send what the arguments name; exit code 1 if an event was too large to be sent."""
    _check(arguments)
    project = Project.load(Path(arguments.project))
    kinds = ("hub", "queue", "topic") if arguments.feed is None else ("hub",)
    place = find_place(project, arguments.target, kinds, "to send to")
    report = Report(place)
    if arguments.feed is not None:
        _send_feed(arguments, project, place, report)
    else:
        with opened_target(project, place, key=arguments.key, partition=arguments.partition) as target:
            with report.shown():
                _send_files(arguments, target, report)
            _note_keyless(arguments.key, target)
    report.tell(as_json=arguments.json)
    return 1 if report.refused else 0


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.feed is None) == (not arguments.files):
        raise UserError("give what to send: FILEs, - for standard input, or --feed URL")
    if arguments.feed is None and arguments.follow:
        raise UserError("--follow goes with --feed. `tail -f FILE | headrace send TARGET -` follows a file")
    if arguments.feed is not None:
        given = {name for name, value in vars(arguments).items() if value is not None and value is not False}
        for name in ("lines", "limit", "producer", "again", "key", "partition"):
            if name in given:
                raise UserError(f"--{name} is for files; a feed's papers are sent once each, by their ids")
    if arguments.files.count("-") > 1:
        raise UserError("standard input (-) can be sent only once")


def _note_keyless(key: str | None, target: HubTarget | QueueTarget) -> None:
    if isinstance(target, HubTarget) and target.keyless:
        events = count_text(target.keyless, "event")
        note(f"{events} had no value in {key!r} and went to any partition. Is the column called so?")


# --- files ------------------------------------------------------------------------------------------------


def _send_files(arguments: argparse.Namespace, target: HubTarget | QueueTarget, report: Report) -> None:
    """Send each file as a stream of its own, or all as one under the producer that the user names."""
    remaining = arguments.limit
    named = Sending(target, arguments.producer) if arguments.producer else None
    if named:
        report.sendings.append(named)
    for name in arguments.files:
        sending = named or Sending(target, None if arguments.again else _producer(name, arguments.lines))
        if not named:
            report.sendings.append(sending)
        before = sending.position
        if name == "-":
            _send_standard_input(sending, arguments.lines, remaining, report)
        else:
            events = _events(name, arguments.lines, report)
            sending.publish_all(islice(events, remaining), report.update)
        if remaining is not None:
            remaining -= sending.position - before


def _producer(name: str, line_field: str | None) -> str | None:
    """Return the producer of a file; what comes from standard input cannot be told from what came before."""
    return None if name == "-" else f"send:{EventFile(Path(name), line_field).digest()}"


def _events(name: str, line_field: str | None, report: Report) -> Iterator[bytes]:
    path = Path(name)
    if line_field is None and path.suffix.lower() in FEED_SUFFIXES:
        return papers_from_file(path)
    return EventFile(path, line_field).events(report.refuse)


def _send_standard_input(sending: Sending, line_field: str | None, limit: int | None, report: Report) -> None:
    """Send lines as they come: in full blocks while there are many, at once when the writer pauses."""
    if sys.stdin is None:
        raise UserError("standard input is closed: there is nothing to send")
    block: list[bytes] = []
    block_bytes = 0

    def flush() -> None:
        nonlocal block_bytes
        sending.publish(block)
        block.clear()
        block_bytes = 0
        report.update()

    reader = text_events(line_field) if line_field is not None else line_events
    with io.BufferedReader(LiveInput(sys.stdin.fileno(), flush)) as lines:
        for event in islice(reader(lines, "standard input", report.refuse), limit):
            block.append(event)
            block_bytes += len(event)
            if len(block) == BLOCK_EVENTS or block_bytes >= MAX_BLOCK_BYTES:
                flush()
    flush()


# --- feeds ------------------------------------------------------------------------------------------------


def _send_feed(arguments: argparse.Namespace, project: Project, place: Place, report: Report) -> None:
    """Ask the feed once, or until SIGTERM or SIGINT; what was polled is stored before this returns."""
    assert isinstance(place.settings, HubSettings)
    known_as = sha256(f"{place.name}\0{arguments.feed}".encode()).hexdigest()[:32]
    state = StateFile(project.data / "feeds" / f"{known_as}.json")
    clock = SystemClock()
    with open_hub(project.data / "hubs", place.name, place.settings) as hub, state.held():
        poller = FeedPoller(
            arguments.feed,
            fetch=HttpFetch(clock=clock),
            clock=clock,
            state=state.load(arguments.feed),
            interval_s=arguments.interval_s,
        )
        if not arguments.follow:
            polled = _poll(poller, hub, state, report)
            if polled.error is not None:
                raise polled.error
            return
        with asked_to_stop() as stopped:
            while not stopped():
                _poll(poller, hub, state, report)
                while not stopped() and poller.wait_s() > 0:
                    clock.sleep(min(STEP_S, poller.wait_s()))


def _poll(poller: FeedPoller, hub: Hub, state: StateFile, report: Report) -> Polled:
    polled = publish_new(poller, hub, state.save)
    report.papers += len(polled.events)
    for paper in polled.oversize:
        report.refuse(f"paper {paper}: larger than an event may be")
    wait = f"{poller.wait_s():,.0f} s"
    match polled.outcome:
        case "waiting":
            note(f"the feed was asked a short while ago and may be asked again in {wait}")
        case "failed":
            note(f"the feed could not be read: {polled.error}. It may be asked again in {wait}")
        case _:
            note(f"{count_text(len(polled.events), 'new paper')}; the feed may be asked again in {wait}")
    return polled
