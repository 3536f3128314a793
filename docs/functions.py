"""Writes functions.md from the catalogue: ``python docs/functions.py > docs/functions.md``.

A test compares the page with what this prints.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from headrace.events.batch import ValueType
from headrace.sql.catalogue import (
    Entry,
    Example,
    Group,
    ResultRule,
    Signature,
    all_entries,
    all_signatures,
)
from headrace.sql.catalogue.datetimes import DATE_PARTS

HEAD = """# Functions

This page is made from the catalogue that queries are bound against:
`python docs/functions.py > docs/functions.md`.

Names are found in any case and take no prefix. Unless it is said otherwise NULL in gives NULL out, positions
count from 1, lengths are in UTF-16 units, times are in UTC. An argument of another type is converted as by
`CAST`; what cannot be converted stops the job. What they do where the language leaves it open is told in
[the query language](query-language.md#texts).
"""

#: What is said of a chapter before its functions.
CHAPTERS = {
    Group.GEOSPATIAL: """
A shape is a GeoJSON record or a WKT text, in degrees, the longitude first. What it may be is told in
[the query language](query-language.md#shapes). These functions need `pip install 'headrace[geo]'`.
""",
    Group.AGGREGATE: """
They are computed over the events of a window in `GROUP BY`, or, with
`OVER ([PARTITION BY key] [ORDER BY key] LIMIT DURATION(unit, n) [WHEN condition])` behind them, over the
events up to each event. They take no notice of NULL, and of nothing but NULL they are NULL; `COUNT` is 0.
`COUNT(DISTINCT value)` takes no `OVER`.
""",
    Group.ANALYTIC: """
They give each event something of the events up to it, in order of time, before `WHERE` leaves any out.
""",
    Group.WINDOW: """
Exactly one stands in `GROUP BY`, or `System.Timestamp()`; each window makes a row for each group at its end.
A window is (start, end] and lasts seven days at most. A unit is `day`, `hour`, `minute`, `second`,
`millisecond` or `microsecond`. `TumblingWindow` may be called `Tumbling`, and so on; lengths may also be
named, as in `HoppingWindow(Duration(minute, 2), Hop(minute, 1), Offset(second, 1))`.
""",
    Group.APPLY: """
They stand behind `CROSS APPLY` or `OUTER APPLY`, which makes a row of each thing that they find. An event for
which they find nothing is left out; `OUTER APPLY` keeps it, with NULLs.
""",
    Group.SYSTEM: """
They tell of an event or a window beside its columns.
""",
}

TABLE_HEAD = "| function | type | what it does | example |\n|---|---|---|---|\n"


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for group in Group:
        parts.append(f"## {group.value.capitalize()} functions\n")
        if group in CHAPTERS:
            parts.append(CHAPTERS[group].lstrip())
        signatures = [signature for signature in all_signatures() if signature.group is group]
        if signatures:
            parts.append(TABLE_HEAD + "\n".join(map(_row, signatures)) + "\n")
        parts += _entries([entry for entry in all_entries() if entry.group is group])
        if group is Group.DATE_TIME:
            parts.append(_date_parts())
    return "\n".join(parts)


def _row(signature: Signature) -> str:
    expression, value = signature.example
    cells = [f"`{signature.usage}`", _gives(signature.result), signature.doc]
    cells.append(f"`{expression}` is `{_written(value)}`")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _gives(result: ValueType | ResultRule) -> str:
    return f"_{result.value}_" if isinstance(result, ResultRule) else result.value


def _entries(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the functions of a chapter, events of their examples before the first that reads them."""
    shown: Sequence[object] = ()
    for number, entry in enumerate(entries):
        example = entry.example
        events = _block("json", map(_written, example.events))
        if number == 0:
            shown = example.events
            yield f"The examples read these events:\n\n{events}"
        marks = [] if entry.result is None else [_gives(entry.result)]
        yield f"### {entry.name}\n\n" + " · ".join([f"`{entry.usage}`", *marks]) + f"\n\n{entry.doc}\n"
        if example.metadata:
            yield _in_python(example)
            continue
        if example.events != shown:
            shown = example.events
            yield events
        yield _block("sql", [example.query])
        yield _block("output", (_written(row, separators=(",", ":")) for row in example.rows))


def _block(language: str, lines: Iterable[str]) -> str:
    return "```" + language + "\n" + "\n".join(lines) + "\n```\n"


def _in_python(example: Example) -> str:
    """Return an example that hands over metadata, which no block of events can."""
    events = "\n".join(f"        {_written(event)}," for event in example.events)
    metadata = ", ".join(_written(record) for record in example.metadata)
    code = [
        "import headrace as hr\n",
        f'events = {{\n    "readings": [\n{events}\n    ]\n}}',
        f'metadata = {{"readings": [{metadata}]}}',
        f'sql = """\n{example.query}\n"""',
        'print(*hr.query(sql, events, metadata=metadata)["output"], sep="\\n")',
    ]
    return _block("python", code) + "\n" + _block("output", [str(dict(row)) for row in example.rows])


def _written(value: object, separators: tuple[str, str] = (", ", ": ")) -> str:
    return json.dumps(value, ensure_ascii=False, separators=separators, default=_iso)


def _iso(value: datetime) -> str:
    """Return a datetime as in JSON output; those of the catalogue are in UTC."""
    return f"{value.replace(tzinfo=None).isoformat(timespec='microseconds')}0Z"


def _date_parts() -> str:
    spellings: dict[str, list[str]] = {}
    for word, part in DATE_PARTS.items():
        spellings.setdefault(part, []).append(f"`{word}`")
    listed = "; ".join(", ".join(words) for words in spellings.values())
    return f"A part is a bare word: {listed}.\n"


if __name__ == "__main__":
    sys.stdout.write(page())
