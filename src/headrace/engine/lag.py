"""How far behind its inputs a job is: what was not yet read and committed, and how old the oldest of it is.

It follows from where the inputs end and what the job has committed, so that no instance need run for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Final, Literal

from headrace.connect.exchange import rows_behind
from headrace.connect.files import FileSettings
from headrace.engine.made_anew import is_of
from headrace.local.hub import Hub
from headrace.local.input_files import InputFile
from headrace.local.namespace import Namespace
from headrace.local.progress import Position
from headrace.local.queue import Queue
from headrace.local.standing import LastEpoch, oldest_message_us


@dataclass(frozen=True, slots=True)
class Lag:
    """What of one partition of an input waits to be read.

    `waiting` counts in `unit`; rows are those of an input that is repartitioned, on their way between the two
    stages, and the partition is one of those that they are divided into. `oldest_us` is when the oldest of it
    arrived, `watermark_us` the time that the last commit left the partition at; times are microseconds since
    1970 UTC, None where they are not known.
    """

    input: str
    partition: int
    waiting: int
    unit: Literal["events", "messages", "bytes", "rows"]
    oldest_us: int | None = None
    watermark_us: int | None = None

    @property
    def label(self) -> str:
        """What waits, in a word or two: two parts of an input may have the same numbers of partitions."""
        return f"{self.input}, repartitioned" if self.unit == "rows" else self.input

    def seconds(self, now_us: int) -> float:
        """Return how old the oldest event is that waits, 0 when none does or nobody knows."""
        return _age_s(self.oldest_us, now_us) or 0.0

    def watermark_delay_s(self, now_us: int) -> float | None:
        """Return how far the watermark is behind the clock, None where there is none."""
        return _age_s(self.watermark_us, now_us)


def hub_lags(
    name: str,
    hub: Hub,
    positions: Mapping[tuple[str, int], Position],
    watermarks_us: Mapping[int, int | None],
) -> list[Lag]:
    """Return what waits in each partition of a hub behind `positions`; all where they are another hub's."""
    lags = []
    for partition, (begin, end) in enumerate(zip(hub.begins(), hub.ends(), strict=True)):
        known = positions.get((name, partition))
        at = max(begin, known.next_offset) if known is not None and is_of(known, hub.identity) else begin
        oldest_us = None
        if at < end:
            found = hub.read(partition, at, max_events=1, max_bytes=1)
            oldest_us = int(found.enqueued_us[0]) if len(found) else None
        lags.append(Lag(name, partition, max(0, end - at), "events", oldest_us, watermarks_us.get(partition)))
    return lags


def exchange_lags(
    name: str,
    hub: Hub,
    positions: Mapping[tuple[str, int], Position],
    watermarks_us: Mapping[int, int | None],
) -> list[Lag]:
    """Return what waits between the stages of a job, of an input, in each partition behind `positions`."""
    lags = []
    for partition in range(hub.partitions):
        known = positions.get((name, partition))
        at = known.next_offset if known is not None and is_of(known, hub.identity) else 0
        rows, oldest_us = rows_behind(hub, partition, at)
        lags.append(Lag(name, partition, rows, "rows", oldest_us, watermarks_us.get(partition)))
    return lags


def queue_lag(name: str, namespace: Namespace, queue: str) -> Lag:
    """Return what stands in a queue: messages that wait, those that are delayed, and those in hand."""
    depth = Queue(namespace, queue).depth()
    waiting = depth.visible + depth.leased + depth.delayed
    return Lag(name, 0, waiting, "messages", oldest_message_us(namespace, queue))


def file_lag(
    name: str,
    folder: Path,
    files: FileSettings,
    record: Sequence[InputFile],
    number: int,
    at: int,
    watermark_us: int | None,
) -> Lag:
    """Return how many bytes of files wait behind a position: byte `at` of file `number` of those on `record`.

    A file that is not read as it lies there, as one that is compressed, counts whole until it is begun. How
    old its events are nobody knows: a file is as old as its last change.
    """
    waiting, oldest_us = 0, None
    begun = {file.name for file in record}
    there = [file.name for file in record[number:]]
    there += [found for found in files.pattern.matching(folder) if found not in begun]
    for place, file in enumerate(there):
        try:
            status = (folder / file).stat()
        except OSError:
            continue
        if not S_ISREG(status.st_mode):
            continue
        read = at if place == 0 and number < len(record) else 0
        grows = files.opener.grows(file)
        left = max(0, status.st_size - read) if grows else status.st_size * (read == 0)
        if left:
            waiting += left
            oldest_us = min(oldest_us or status.st_mtime_ns, status.st_mtime_ns)
    return Lag(name, 0, waiting, "bytes", None if oldest_us is None else oldest_us // 1000, watermark_us)


def watermarks_us(epochs: Mapping[str, LastEpoch], name: str, partitions: int) -> dict[int, int | None]:
    """Return the time that each partition of an input was left at by the last commit.

    It is that of the partition, or of the task that the partition goes with.
    """
    return {
        partition: next(
            (
                epochs[task].watermark_us
                for task in (f"state/{partition}", "state", f"{name}/{partition}")
                if task in epochs and _is_time(epochs[task].watermark_us)
            ),
            None,
        )
        for partition in range(partitions)
    }


#: Behind and before these there is no time: marks of "for ever" and "never".
_LAST_US: Final = 253_402_300_800_000_000
_FIRST_US: Final = -62_135_596_800_000_000


def _is_time(time_us: int | None) -> bool:
    return time_us is not None and _FIRST_US <= time_us < _LAST_US


def _age_s(time_us: int | None, now_us: int) -> float | None:
    return None if time_us is None else max(0.0, (now_us - time_us) / 1e6)
