"""The console as an output: a JSON line per row, printed after the commit, at least once."""

from __future__ import annotations

import sys

import msgspec

from headrace.connect.sink import Prepared, Rows
from headrace.events.formats.json import encode_lines


class ConsoleSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="console", tag_field="kind"
):
    """``kind = "console"``: prints each row as a line of JSON."""


class ConsoleSink:
    """Prints rows to standard output. A crash between printing and noting it prints a block again."""

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows as JSON lines."""
        return Prepared(encode_lines(rows.batch), rows.batch.height)

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Print the rows."""
        sys.stdout.buffer.write(block + b"\n")
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """Do nothing: standard output stays open."""
