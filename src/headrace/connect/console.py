"""The console as an output: a JSON line per row, printed after the commit, at least once."""

from __future__ import annotations

import sys

import msgspec

from headrace.connect.sink import Prepared, Rows
from headrace.errors import UserError, disk_error
from headrace.events.formats.json import encode_lines


class ConsoleSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="console", tag_field="kind"
):
    """``kind = "console"``: prints each row as a line of JSON."""


class ConsoleSink:
    """Prints rows to standard output. A crash between printing and noting it prints a block again.

    Unless rows are `kept` for a next run, it is no error that nobody reads them: BrokenPipeError says so.
    """

    def __init__(self, *, kept: bool = True) -> None:
        self._kept = kept

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows as JSON lines."""
        return Prepared(encode_lines(rows.batch), rows.batch.height)

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Print the rows."""
        try:
            sys.stdout.buffer.write(block + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            if not self._kept:
                raise
            raise UserError("nobody reads the console any more: rows wait until the job runs again") from None
        except OSError as error:
            raise disk_error(error.errno or 0, "the console's rows", problem=str(error.strerror)) from None

    def close(self) -> None:
        """Do nothing: standard output stays open."""
