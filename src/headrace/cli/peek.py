"""Look at a table's rows, a queue's depth and messages, or a hub's partitions and latest events.

Nothing is taken away and no offset is moved. --to writes a table to a file: .csv, .parquet, .json or .jsonl.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.cli.numbers import at_least
from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import (
    body_text,
    count_text,
    note,
    print_json,
    print_lines,
    print_table,
    time_text,
    waiting,
)
from headrace.connect.hub import HubSettings
from headrace.connect.queue import QueueSettings
from headrace.connect.table import TableSettings
from headrace.connect.topic import Subscription, subscription_queue
from headrace.errors import UserError
from headrace.local.browse import newest_messages
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue, list_queues
from headrace.local.table import Entity, Table, list_tables
from headrace.project import Project
from headrace.project.latest import newest_events
from headrace.project.places import find_place
from headrace.project.settings import Place

KINDS: Final = ("table", "queue", "topic", "hub")

#: Rows, messages or events that are shown unless told otherwise.
ROWS: Final = 10


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "peek",
        help="show or export a table, a queue's depth or a hub's latest events",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="an input, an output, or a table, queue or hub")
    parser.add_argument("--kind", choices=KINDS, help="which one, where several have the name")
    parser.add_argument(
        "--rows", type=at_least(0), default=ROWS, metavar="N", help=f"how many to show ({ROWS})"
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="write all rows of a table to a file")
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show or export what the name means."""
    project = Project.load(Path(arguments.project))
    kinds = (arguments.kind,) if arguments.kind else KINDS
    if not project.data.exists():
        place = find_place(project, arguments.name, kinds, "to look at")
        raise UserError(f"{place} is not there yet: nothing has been sent or run in this project")
    with Namespace.open(project.data, looking=True) as namespace:
        place = find_place(project, arguments.name, kinds, "to look at", others=_existing(namespace))
        if arguments.to is not None and place.kind != "table":
            raise UserError(f"{place}: only tables are written to files; `headrace sample` copies events")
        match place.kind:
            case "table" if arguments.to is not None:
                _export(namespace, place, arguments)
            case "table":
                _show_table(namespace, place, arguments)
            case "queue":
                _show_queue(namespace, place, arguments)
            case "topic":
                _show_topic(namespace, place, project.subscriptions.get(place.name, []), arguments)
            case _:
                _show_hub(namespace, place, arguments)
    return 0


def _existing(namespace: Namespace) -> list[Place]:
    """Return what is there, declared or not."""
    return [
        *(Place("table", name, TableSettings()) for name in list_tables(namespace)),
        *(Place("queue", name, QueueSettings()) for name in list_queues(namespace)),
        *(Place("hub", name, HubSettings()) for name in Hub.names(namespace.hubs_folder)),
    ]


# --- tables -----------------------------------------------------------------------------------------------


def _existing_table(namespace: Namespace, place: Place) -> Table:
    if place.name not in list_tables(namespace):
        raise UserError(f"{place} has no rows yet: `headrace run` runs the jobs that write it")
    return Table(namespace, place.name)


def _export(namespace: Namespace, place: Place, arguments: argparse.Namespace) -> None:
    table = _existing_table(namespace, place)
    with waiting(f"writing {place} to {arguments.to}"):
        rows = table.export(arguments.to)
    if arguments.json:
        print_json({"kind": place.kind, "name": place.name, "rows": rows, "file": str(arguments.to)})
    else:
        print_lines([f"wrote {count_text(rows, 'row')} of {place} to {arguments.to}"])


def _show_table(namespace: Namespace, place: Place, arguments: argparse.Namespace) -> None:
    table = _existing_table(namespace, place)
    rows = list(table.read(limit=arguments.rows))
    total = table.count()
    if arguments.json:
        shown = [_row_document(row) for row in rows]
        print_json({"kind": place.kind, "name": place.name, "rows": total, "first": shown})
        return
    cells = [_cells(row) for row in rows]
    columns = list(dict.fromkeys(name for row in cells for name in row))
    if not any(row.partition_key for row in rows):  # a table without partitions need not show that
        columns = columns[1:]
    if rows:
        print_table(columns, [[row.get(name, "") for name in columns] for row in cells])
    note(f"{place}: {count_text(total, 'row')}" + (f", {len(rows)} shown" if len(rows) < total else ""))


def _row_document(row: Entity) -> dict[str, Any]:
    return {
        "partition_key": row.partition_key,
        "row_key": row.row_key,
        "properties": msgspec.json.decode(row.properties),
    }


def _cells(row: Entity) -> dict[str, str]:
    """Return a row's values as text: numbers as they are stored, records and arrays as JSON."""
    properties = msgspec.json.decode(row.properties, type=dict[str, msgspec.Raw])
    keys = {"partition_key": row.partition_key, "row_key": row.row_key}
    return keys | {name: _value_text(bytes(raw)) for name, raw in properties.items()}


def _value_text(raw: bytes) -> str:
    if raw == b"null":
        return ""
    return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()


# --- queues -----------------------------------------------------------------------------------------------


def _show_queue(namespace: Namespace, place: Place, arguments: argparse.Namespace) -> None:
    depth = Queue(namespace, place.name).depth()._asdict()
    messages = newest_messages(namespace, place.name, limit=arguments.rows)
    if arguments.json:
        latest = [
            {
                "id": message.id,
                "enqueued": time_text(message.enqueued_us),
                "deliveries": message.delivery_count,
                "hidden": message.hidden,
                "body": _whole_body(message.body),
            }
            for message in messages
        ]
        print_json({"kind": place.kind, "name": place.name, "depth": depth, "latest": latest})
        return
    print_table(list(depth), [list(depth.values())])
    if messages:
        rows = [
            (m.id, time_text(m.enqueued_us), m.delivery_count, m.hidden, body_text(m.body)) for m in messages
        ]
        print_table(["message", "enqueued", "deliveries", "hidden", "body"], rows)


def _show_topic(
    namespace: Namespace, place: Place, subscriptions: Sequence[Subscription], arguments: argparse.Namespace
) -> None:
    """Show how full the subscriptions are; each can be looked at as the queue that it is."""
    depths = {
        name: Queue(namespace, name).depth()._asdict()
        for name in (subscription_queue(place.name, subscription.name) for subscription in subscriptions)
    }
    if arguments.json:
        print_json({"kind": place.kind, "name": place.name, "subscriptions": depths})
        return
    if depths:
        heads = list(next(iter(depths.values())))
        print_table(["queue", *heads], [[name, *depth.values()] for name, depth in depths.items()])
    note(f"{place}: {count_text(len(depths), 'subscription')}")


# --- hubs -------------------------------------------------------------------------------------------------


def _show_hub(namespace: Namespace, place: Place, arguments: argparse.Namespace) -> None:
    if place.name not in Hub.names(namespace.hubs_folder):
        raise UserError(f"{place} is not there yet: `headrace send {place.name} FILE` sends it events")
    with Hub.open(namespace.hubs_folder, place.name, looking=True) as hub:
        bounds = list(enumerate(zip(hub.begins(), hub.ends(), strict=True)))
        events = newest_events(hub, arguments.rows)
    if arguments.json:
        partitions = [{"partition": number, "begin": begin, "end": end} for number, (begin, end) in bounds]
        latest = [
            {
                "partition": event.partition,
                "offset": event.offset,
                "enqueued": time_text(event.enqueued_us),
                "body": _whole_body(event.body),
            }
            for event in events
        ]
        print_json({"kind": place.kind, "name": place.name, "partitions": partitions, "latest": latest})
        return
    rows = [(number, begin, end, end - begin) for number, (begin, end) in bounds]
    print_table(["partition", "begin", "end", "events"], rows)
    if events:
        latest_rows = [(e.partition, e.offset, time_text(e.enqueued_us), body_text(e.body)) for e in events]
        print_table(["partition", "offset", "enqueued", "body"], latest_rows)


def _whole_body(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")
