"""Points as they arrive for a series output, in memory of a fixed size: file by file, and out as segments.

A file can be given up until it is at its end, however much of it was written already. What was written counts
once a commit says so; `undo` removes what no commit will speak of.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from headrace.errors import HeadraceError
from headrace.local.namespace import Transaction
from headrace.series.catalogue import Segment
from headrace.series.compression import Compressed, Rules, compressed, record
from headrace.series.compression_settings import CompressSettings
from headrace.series.grouping import tag_starts
from headrace.series.parser import new_sorter
from headrace.series.points import Codes, Points, Times, Values
from headrace.series.segments import segment_name, write_segment
from headrace.series.store import Store
from headrace.series.tag_files import append_points


class Arriving(Protocol):
    """Where points of one tenant at a time go; one thread uses it."""

    def begin(self, tenant: str, messages: Sequence[str]) -> None:
        """Begin with what some messages bring of a tenant."""
        ...

    def begin_file(self) -> None:
        """Begin with a file, as `drop_file` gives it up again."""
        ...

    def add(self, codes: Codes, times_us: Times, values: Values) -> None:
        """Take points over, whose codes are those of the catalogue."""
        ...

    def drop_file(self) -> None:
        """Give up what came since `begin_file`."""
        ...

    def write(self) -> int:
        """Write and sync what came; returns the bytes of all that waits for the commit."""
        ...

    def commit(self, tx: Transaction) -> None:
        """Within the commit: what was written counts."""
        ...

    def committed(self) -> None:
        """Take note that it does."""
        ...

    def undo(self) -> None:
        """Drop what came and was written since the last commit."""
        ...


@dataclass(slots=True)
class _Memory:
    """Room for points."""

    size: int
    codes: Codes = field(init=False)
    times_us: Times = field(init=False)
    values: Values = field(init=False)
    sorter: Callable[[Points], Points] = field(init=False)
    held: int = 0

    def __post_init__(self) -> None:
        self.sorter = new_sorter()
        self.codes = np.empty(self.size, np.uint32)
        self.times_us = np.empty(self.size, np.int64)
        self.values = np.empty(self.size, np.float64)

    def add(self, codes: Codes, times_us: Times, values: Values) -> None:
        end = self.held + len(codes)
        self.codes[self.held : end] = codes
        self.times_us[self.held : end] = times_us
        self.values[self.held : end] = values
        self.held = end

    def take(self, count: int) -> Points:
        """Return the first points sorted, valid until the next call; those behind them become the first."""
        points = self.sorter(Points(self.codes[:count], self.times_us[:count], self.values[:count]))
        left = self.held - count
        for column in (self.codes, self.times_us, self.values):
            column[:left] = column[count : self.held].copy()
        self.held = left
        return points


class _Collecting:
    """What both layouts do: points wait in memory, for at most `points` of them."""

    def __init__(self, store: Store, line: str, points: int) -> None:
        self._store, self._line = store, line
        self._memory = _Memory(points)
        self._mark = 0
        self._tenant = ""
        self._folder = Path()
        self._number = 0

    def begin(self, tenant: str, messages: Sequence[str]) -> None:
        """Begin with what some messages bring of a tenant."""
        self._messages, self._parts = messages, 0
        if tenant != self._tenant:
            self._tenant, self._folder = tenant, self._store.folder(tenant)
            self._number = self._store.catalogue.tenant(tenant)

    @property
    def tenant(self) -> int:
        """The number of the tenant in the catalogue."""
        return self._number


class SegmentsArriving(_Collecting):
    """Sorted segments, one for each `points` points that come together; see `Arriving`."""

    def __init__(self, store: Store, line: str, points: int, rules: Sequence[CompressSettings] = ()) -> None:
        super().__init__(store, line, points)
        self._rules: dict[int, Rules] = {}
        self._settings = rules
        self._written: list[tuple[Segment, list[Compressed]]] = []
        self._before_file = 0

    def begin_file(self) -> None:
        """Begin with a file."""
        self._mark, self._before_file = self._memory.held, len(self._written)

    def add(self, codes: Codes, times_us: Times, values: Values) -> None:
        """Take points over; where there is no room for them, what waits is written."""
        memory = self._memory
        for at in range(0, len(codes), memory.size):
            some = slice(at, at + memory.size)
            count = len(codes[some])
            if memory.held + count > memory.size and self._mark:
                # What came before this file is in a segment of its own: the file may be given up.
                self._write(self._mark)
                self._before_file, self._mark = len(self._written), 0
            if memory.held + count > memory.size:
                self._write(memory.held)
            memory.add(codes[some], times_us[some], values[some])

    def drop_file(self) -> None:
        """Give up what came since `begin_file`."""
        self._memory.held = self._mark
        self._remove(self._before_file)

    def write(self) -> int:
        """Write and sync what came."""
        if self._memory.held:
            self._write(self._memory.held)
        self._mark = 0
        return sum(segment.size_bytes for segment, _ in self._written)

    def commit(self, tx: Transaction) -> None:
        """Within the commit: the segments count, and what was left out of them is on record."""
        for segment, records in self._written:
            self._store.catalogue.add(tx, self._number, segment)
            record(tx, self._number, records)

    def committed(self) -> None:
        """Take note that they do."""
        self._written.clear()

    def undo(self) -> None:
        """Drop what came, and the segments that no commit speaks of."""
        self._memory.held = self._mark = 0
        if self._written:
            self._written.clear()
            # What fails behind the end of a commit does not undo it, so that the catalogue is asked. Where
            # that fails too, the files are swept when this line begins anew.
            with contextlib.suppress(OSError, HeadraceError):
                self._store.sweep(self._tenant, self._line)

    def _write(self, count: int) -> None:
        name = segment_name(self._line, [*self._messages, f"part {self._parts}"])
        self._parts += 1
        points, records = compressed(self._memory.take(count), self._rules_of_tenant())
        self._written.append((write_segment(self._folder, name, points), records))

    def _rules_of_tenant(self) -> Rules:
        number, catalogue = self._number, self._store.catalogue
        found = self._rules.get(number)
        if found is None:
            found = Rules(self._settings, lambda code: catalogue.guids(number, code, 1)[0])
            self._rules[number] = found
        return found

    def _remove(self, first: int) -> None:
        for segment, _ in self._written[first:]:
            # One that cannot be removed is swept when this line begins anew.
            with contextlib.suppress(OSError):
                (self._folder / segment.name).unlink(missing_ok=True)
        del self._written[first:]


class TagFilesArriving(_Collecting):
    """The layout of `tag_files`; see `Arriving`. What was appended cannot be undone."""

    def begin_file(self) -> None:
        """Begin with a file."""
        self._mark = self._memory.held

    def add(self, codes: Codes, times_us: Times, values: Values) -> None:
        """Take points over; where there is no room for them, what waits is appended."""
        memory = self._memory
        for at in range(0, len(codes), memory.size):
            some = slice(at, at + memory.size)
            if memory.held + len(codes[some]) > memory.size:
                self.write()
            memory.add(codes[some], times_us[some], values[some])

    def drop_file(self) -> None:
        """Give up what came since `begin_file` and was not appended yet."""
        self._memory.held = self._mark

    def write(self) -> int:
        """Append what came."""
        points = self._memory.take(self._memory.held)
        self._mark = 0
        present = points.codes[tag_starts(points.codes)]
        if not len(present):
            return 0
        first = int(present[0])
        guids = self._store.catalogue.guids(self._number, first, int(present[-1]) - first + 1)
        own = [guids[code - first] for code in present.tolist()]
        return append_points(self._folder, self._line, points, own)

    def commit(self, tx: Transaction) -> None:
        """Do nothing: lines count as they are appended."""

    def committed(self) -> None:
        """Do nothing."""

    def undo(self) -> None:
        """Drop what was not appended yet."""
        self._memory.held = self._mark = 0


def arriving(
    store: Store, line: str, layout: str, points: int, rules: Sequence[CompressSettings] = ()
) -> SegmentsArriving | TagFilesArriving:
    """Return what takes the points of a line for a store, with room for so many; `rules` leave some out."""
    if layout == "files":
        return TagFilesArriving(store, line, points)
    return SegmentsArriving(store, line, points, rules)


def sweep(store: Store, line: str) -> list[str]:
    """Remove the files that a line wrote for any tenant and no commit speaks of; only its owner may."""
    found: list[str] = []
    for tenant in store.catalogue.tenants():
        with contextlib.suppress(FileNotFoundError):
            found += store.sweep(tenant, line)
    return found
