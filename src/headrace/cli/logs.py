"""The log of running jobs on standard error: as text for people, or as a JSON object a line.

Without a wish, only what a user should know is told, as text. With ``--log`` or ``HEADRACE_LOG`` there is a
line for each thing of note as well: starts and ends, tasks taken and given, what begins to fail.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import Final

from headrace.cli.main import complain, shape_messages
from headrace.errors import UserError

FORMATS: Final = ("text", "json")

#: Processes that a supervisor starts find the wish here.
VARIABLE: Final = "HEADRACE_LOG"

_ROOT: Final = logging.getLogger("headrace")


def begin_log(wish: str | None) -> None:
    """Let lines of the log go to standard error as `wish` says, else as the environment does.

    Instances that are started from here do the same. Raises UserError for a format that there is not.
    """
    wanted = wish or os.environ.get(VARIABLE, "")
    if wanted and wanted not in FORMATS:
        raise UserError(f"{VARIABLE}: expected text or json, found {wanted!r}")
    if wanted:
        os.environ[VARIABLE] = wanted
        _ROOT.setLevel(logging.INFO)
    if wanted == "json":
        shape_messages(lambda message: json_line("warning", "message", message))
    for handler in [own for own in _ROOT.handlers if isinstance(own, _Lines)]:
        _ROOT.removeHandler(handler)
    _ROOT.addHandler(_Lines())


class _Lines(logging.Handler):
    """Writes each record as one line, in one piece."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        event = getattr(record, "event", "message")
        message = record.getMessage()
        complain(
            message,
            lambda text: (
                json_line(record.levelname.lower(), event, text, **fields)
                if os.environ.get(VARIABLE) == "json"
                else f"headrace: {text}"
            ),
        )


def json_line(level: str, event: str, message: str, **fields: object) -> str:
    """Return a line of the log as JSON, with the time."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = {"time": now, "level": level, "event": event, "message": message, **fields}
    return json.dumps(document, ensure_ascii=False, default=str)
