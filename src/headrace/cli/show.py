"""What verbs print: results on standard output, everything else on standard error, secrets left out."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from headrace.cli.main import complain
from headrace.redaction import redacted

#: A cell is cut to this many characters; exports have all of them.
CELL_CHARS: Final = 60


def note(line: str) -> None:
    """Print a message for a person, which is no result."""
    complain(line)


@contextlib.contextmanager
def waiting(text: str = "") -> Iterator[Callable[[str], None]]:
    """Show on a terminal that something takes its time; gives what changes the text."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Console(stderr=True).status(Text(redacted(text))) as status:
        yield lambda changed: status.update(Text(redacted(changed)))


def print_json(document: Any) -> None:
    """Print the one JSON document of ``--json``."""
    print(redacted(json.dumps(document, ensure_ascii=False, indent=2)), flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of a result."""
    for line in lines:
        print(redacted(line))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their names: with lines on a terminal, else as plain columns."""
    names = [shortened(name) for name in columns]
    texts = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        table = Table(*(Column(Text(name)) for name in names), box=box.SIMPLE_HEAD)
        for row in texts:
            table.add_row(*(Text(redacted(text)) for text in row))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(names, *texts, strict=True)]
    for line in (names, *texts):
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print(redacted("  ".join(padded).rstrip()))


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return shortened(text)


def shortened(text: str, length: int = CELL_CHARS) -> str:
    """Return `text` on one line, control characters escaped, at most so long."""
    text = text if len(text) <= 4 * length else text[: 4 * length]
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def body_text(body: bytes, length: int = CELL_CHARS) -> str:
    r"""Return a body for reading: bytes that are not UTF-8 as ``\xff``, control characters escaped."""
    return shortened(body[: 4 * length].decode("utf-8", "backslashreplace"), length)


def time_text(us: int) -> str:
    """Return a time in microseconds since 1970 UTC as text."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return f"{moment.replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"


def count_text(count: int, what: str) -> str:
    """Return ``1 event`` or ``2 events``."""
    return f"{count:,} {what if count == 1 else what + 's'}"
