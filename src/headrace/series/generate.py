"""Made-up datasets, as the original system has them: files of 1 to 4 MB from a chosen number of tags."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from headrace.errors import UserError, disk_error
from headrace.names import checked_name
from headrace.series.line_text import FULL, guid_table, lines
from headrace.series.points import GUID_BYTES, Points
from headrace.series.signals import SIGNALS

#: 2013-05-05T00:00:00Z, when the original's example was made.
START_US: Final = 1_367_712_000_000_000

#: Each tag is read once in a round, at a time of its own.
_ROUND_MS: Final = 1000

#: Points that are made at a time, at least one round.
_BLOCK_POINTS: Final = 65_536

#: Points that are written as text at a time, some 2 MB of it and 10 of work.
_TEXT_POINTS: Final = 32_768

#: Sizes of files are drawn from here, so that what lines of other lengths add keeps them within 1 to 4 MB.
_FILE_BYTES: Final = (1_100_000, 3_800_000)


class Generator:
    """Points of `tags` tags without end, the same for the same `seed`, time going forward.

    Tags have the `signals` in turn, see `SIGNALS`. No tag has two points of one time. `name` makes other tags
    of the same seed, as tenants have.
    """

    def __init__(
        self, tags: int, *, signals: Sequence[str] = ("random",), seed: int = 0, name: str = ""
    ) -> None:
        if tags < 1 or not signals or any(signal not in SIGNALS for signal in signals):
            raise UserError(f"expected at least one tag, and signals among {', '.join(SIGNALS)}")
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        self._random = np.random.default_rng(int.from_bytes(digest, "big"))
        made = self._random.bytes(tags * GUID_BYTES)
        self.guids = [made[at : at + GUID_BYTES] for at in range(0, len(made), GUID_BYTES)]
        self._table = guid_table(self.guids)
        self._signals = [SIGNALS[signal] for signal in signals]
        places = [FULL if signal.decimals is None else signal.decimals for signal in self._signals]
        self._decimals = np.resize(np.array(places, np.int8), tags)
        self._levels = self._random.uniform(10, 100, tags)
        self._state = np.zeros(tags)
        self._rounds = 0
        self._held = self._block()

    def take(self, points: int) -> Points:
        """Return the next points; codes number `guids`, times are whole milliseconds."""
        parts, missing = [], points
        while missing:
            if not len(self._held):
                self._held = self._block()
            parts.append(_part(self._held, 0, missing))
            self._held = _part(self._held, missing, len(self._held))
            missing -= len(parts[-1])
        return Points(
            np.concatenate([part.codes for part in parts]),
            np.concatenate([part.times_us for part in parts]),
            np.concatenate([part.values for part in parts]),
        )

    def text(self, points: Points) -> bytes:
        """Return points as lines of a file."""
        return lines(self._table, points.codes, points.times_us, points.values, self._decimals)

    def _block(self) -> Points:
        """Return the points of the next rounds."""
        tags = len(self.guids)
        rounds = max(1, _BLOCK_POINTS // tags)
        first = self._rounds
        self._rounds += rounds
        began_ms = START_US // 1000 + np.arange(first, self._rounds) * _ROUND_MS
        within_ms = np.sort(self._random.integers(0, _ROUND_MS, (rounds, tags)), axis=1)
        order = self._random.permuted(np.tile(np.arange(tags, dtype=np.uint32), (rounds, 1)), axis=1)
        values = np.take_along_axis(self._values(began_ms), order.astype(np.int64), axis=1)
        return Points(order.ravel(), ((began_ms[:, None] + within_ms) * 1000).ravel(), values.ravel())

    def _values(self, times_ms: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray:
        """Return a row of the tags' values for each round."""
        values = np.empty((len(times_ms), len(self.guids)))
        for number, signal in enumerate(self._signals):
            own = slice(number, None, len(self._signals))
            made = signal.make(self._random, self._levels[own], self._state[own], times_ms)
            if signal.decimals is not None:
                made = np.rint(made * 10**signal.decimals) / 10**signal.decimals
            values[:, own] = made
        return values


def _part(points: Points, start: int, end: int) -> Points:
    return Points(points.codes[start:end], points.times_us[start:end], points.values[start:end])


class Written(NamedTuple):
    """A file that was made."""

    path: Path
    size_bytes: int
    points: int


def write_dataset(
    generator: Generator,
    folder: Path,
    tenant: str,
    *,
    size_bytes: int | None = None,
    points: int | None = None,
) -> Iterator[Written]:
    """Fill the folder of a tenant within `folder` until `size_bytes` or `points` are reached, file by file.

    A file appears whole, in place of one with its name. Raises `UserError` for a name that no tenant has, or
    where files cannot be written.
    """
    target = folder / checked_name(tenant, "tenant")
    sizes = np.random.default_rng(len(generator.guids))
    made_bytes = made_points = number = 0
    try:
        target.mkdir(parents=True, exist_ok=True)
        while made_bytes < (size_bytes or 0) or made_points < (points or 0):
            wanted_bytes = int(sizes.integers(*_FILE_BYTES))
            wanted_bytes = min(wanted_bytes, size_bytes - made_bytes) if size_bytes else wanted_bytes
            path = target / f"readings-{number:05}.csv"
            written = _write_file(generator, path, wanted_bytes, points and points - made_points)
            made_bytes += written.size_bytes
            made_points += written.points
            number += 1
            yield written
    except OSError as error:
        raise disk_error(error.errno or 0, target) from None


def _write_file(generator: Generator, path: Path, wanted_bytes: int, most_points: int | None) -> Written:
    """Write a file of about so many bytes, and no more points than `most_points`."""
    size_bytes = made = 0
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        while size_bytes < wanted_bytes and (most_points is None or made < most_points):
            line_bytes = size_bytes / made if made else 69.0
            wanted = min(_TEXT_POINTS, int((wanted_bytes - size_bytes) / line_bytes) + 1)
            taken = generator.take(wanted if most_points is None else min(wanted, most_points - made))
            text = generator.text(taken)
            file.write(text)
            size_bytes += len(text)
            made += len(taken)
    os.replace(temporary, path)
    return Written(path, size_bytes, made)
