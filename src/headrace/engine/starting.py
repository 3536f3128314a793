"""Where a job starts: where it stopped, at the beginning, now, or so that its output begins at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from headrace.connect.source import OrderedSource
from headrace.engine.made_anew import position_in
from headrace.engine.tasks import Place, task_name
from headrace.errors import UserError
from headrace.events.watermark import EARLY_TOLERANCE_US
from headrace.local.progress import Position

_MICROSECOND: Final = datetime.resolution

_WORDS: Final = ("last", "beginning", "now")


@dataclass(frozen=True, slots=True)
class Start:
    """A place to start from; with `where` a time, it is `time_us`, in microseconds since 1970 UTC."""

    where: Literal["last", "beginning", "now", "time"]
    time_us: int = 0

    @property
    def output_us(self) -> int | None:
        """The time at which the output begins; None if that is with the first row."""
        return self.time_us if self.where == "time" else None

    @classmethod
    def read(cls, text: str) -> Start:
        """Return the start that a person means by ``last``, ``beginning``, ``now`` or an ISO 8601 time.

        A time without a zone is UTC. Raises UserError for anything else.
        """
        match text:
            case "last" | "beginning" | "now":
                return cls(text)
        try:
            time = datetime.fromisoformat(text)
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError):
            raise UserError(
                f"cannot start from '{text}': say {', '.join(_WORDS)}, or a time such as 2026-03-01T12:00:00Z"
            ) from None
        return cls("time", (time - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND)


def positions(
    start: Start, sources: Mapping[str, OrderedSource], lookback_us: int, passes_to: str = ""
) -> dict[str, dict[Place, Position]]:
    """Return, by task, where to read on; for a time so early that its first rows are complete.

    An event's time may be ahead of its arrival by as much as TIMESTAMP BY lets it. What arrived earlier still
    has a time before all that is needed, so that whether it was seen changes nothing. `passes_to` is as in
    `position_in`.
    """
    found = {}
    for name, source in sources.items():
        for partition in range(source.partitions):
            match start.where:
                case "now":
                    offset = source.end(partition)
                case "time":
                    since_us = start.time_us - lookback_us - EARLY_TOLERANCE_US
                    offset = source.offset_at(partition, since_us)
                case _:
                    offset = source.offset_at(partition, 0)
            found[task_name(source, name, partition)] = {
                (name, partition): position_in(source, offset, passes_to)
            }
    return found
