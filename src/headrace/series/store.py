"""A store: the folder of the segments of each tenant, and the catalogue that says which of them count."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from headrace.errors import Fatal, UserError, disk_error
from headrace.local.files import make_folder, replacing
from headrace.local.namespace import Namespace
from headrace.names import inside, safe_file_stem
from headrace.series.catalogue import EVER_US, Catalogue, Segment
from headrace.series.grouping import by_time
from headrace.series.index import Index
from headrace.series.points import Points, concat
from headrace.series.segments import SegmentFile, line_prefix

#: Segments that stay open between readings; each is a file and some pages of its index.
_OPEN_FILES: Final = 256

#: So often a reader looks again because a segment that it was about to read was compacted meanwhile.
_TURNS: Final = 5

#: The file in a store's folder that says whose segments those are: files that the catalogue does not name
#: are swept, and two that write one folder would sweep, and write over, each other's.
MARK: Final = ".headrace-series"

_Found = TypeVar("_Found")
_Number = TypeVar("_Number", np.int64, np.float64)


class Store:
    """What the series output called `name` writes below `folder`; one thread uses it at a time.

    Files are `mapped` into memory, which is faster where little of one is read and again and again; who reads
    all of many, once, holds less otherwise.
    """

    def __init__(self, namespace: Namespace, name: str, folder: Path, *, mapped: bool = True) -> None:
        self.namespace, self.name = namespace, name
        self.catalogue = Catalogue(namespace, name)
        self._folder, self._mapped = folder, mapped
        self._open: OrderedDict[Path, SegmentFile] = OrderedDict()
        self._indices: dict[str, tuple[int, Index]] = {}
        self._places: dict[str, Path] = {}
        self._claimed = False

    def claim(self) -> None:
        """Make the folder this store's, before anything is written there.

        Raises `UserError` for one that another project or output writes, `Fatal` for one in which the
        segments are not that there are: it was moved, or its disk is not mounted.
        """
        if self._claimed:
            return
        stored = self.catalogue.some_files()  # asked first: who stores anything has made its mark before
        mark = self._mark()
        if mark is None:
            if stored and not any((self._place(tenant) / name).exists() for tenant, name in stored):
                raise self.missing()
            try:
                make_folder(self._folder)
            except OSError as error:
                raise disk_error(error.errno or 0, self._folder, "make", error.strerror or "") from None
            with replacing(self._folder / MARK) as file:
                file.write(self._own_mark())
        elif mark != self._own_mark():
            raise UserError(
                f"{self._folder} holds the histories of another project, or of another output than "
                f"'{self.name}': two that write one folder would remove each other's files. Set `folder` of "
                f"[outputs.{self.name}] to one of its own"
            )
        self._claimed = True

    def _own_mark(self) -> bytes:
        return f"{self.namespace.identity()}\n{self.name}\n".encode()

    def _mark(self) -> bytes | None:
        try:
            return (self._folder / MARK).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise disk_error(error.errno or 0, self._folder / MARK, "read") from None

    def folder(self, tenant: str) -> Path:
        """Return the folder of a tenant's segments, made if it is missing; raises as `claim` does."""
        self.claim()
        folder = self._place(tenant)
        try:
            make_folder(folder)
        except OSError as error:
            raise disk_error(error.errno or 0, folder, "make", error.strerror or str(error)) from None
        return folder

    def read(self, tenant: str, code: int, start_us: int = EVER_US[0], end_us: int = EVER_US[1]) -> Points:
        """Return the points of one tag at or after `start_us` and before `end_us`, sorted by time.

        Where several have the same time the one that was stored last is returned. Raises `UserError` for an
        unknown tenant.
        """

        def look() -> Points:
            index = self.index(tenant)
            folder = self._place(tenant)
            times, values = [], []
            for segment, blocks, alone in index.blocks_of(code, start_us, end_us):
                file = self._opened(folder / segment.name)
                some = file.read_tag(code, blocks, start_us, end_us, alone=alone)
                times.append(some[0])
                values.append(some[1])
            if not times:
                return concat([])
            found = _joined(times), _joined(values)
            return by_time(Points(np.full(len(found[0]), code, np.uint32), *found))

        return self.looking(look)

    def index(self, tenant: str) -> Index:
        """Return which row group of which segment holds what; it is read again only after a commit."""
        version = self.namespace.version()
        held = self._indices.get(tenant)
        if held is None or held[0] != version:
            segments = self.catalogue.segments(self.catalogue.known_tenant(tenant))
            if held is not None and held[1].is_of(segments):
                held = version, held[1]
            else:
                held = version, Index(segments)
            self._indices[tenant] = held
        return held[1]

    def _place(self, tenant: str) -> Path:
        place = self._places.get(tenant)
        if place is None:
            place = self._places[tenant] = inside(self._folder, safe_file_stem(tenant))
        return place

    def looking(self, look: Callable[[], _Found]) -> _Found:
        """Return what `look` finds; it is asked again where segments went away while it read."""
        for _ in range(_TURNS):
            with contextlib.suppress(FileNotFoundError):
                return look()
            self._indices.clear()
        raise self.missing()

    def missing(self) -> Fatal:
        """Return what a user is told where segments are not there."""
        return Fatal(
            f"segments of series '{self.name}' are missing in {self._folder}: the catalogue names files that "
            "are not there. Restore the folder, or look whether it was moved or its disk is not mounted"
        )

    def blocks(
        self, tenant: str, segments: Sequence[Segment], chosen: Callable[[Segment], Sequence[int]]
    ) -> Iterator[tuple[Segment, Points]]:
        """Yield the points of the row groups that `chosen` names of each segment, where it names any."""
        for segment in segments:
            blocks = chosen(segment)
            if len(blocks):
                yield segment, self.read_blocks(tenant, segment, blocks)

    def read_blocks(self, tenant: str, segment: Segment, blocks: Sequence[int]) -> Points:
        """Return the points of row groups of a segment; FileNotFoundError if it is gone, see `looking`."""
        return self._opened(self._place(tenant) / segment.name).read(blocks)

    def sweep(self, tenant: str, line: str) -> list[str]:
        """Remove the files that a line wrote and no commit speaks of, and return their names.

        Only the owner of the line may. A folder that is not this store's is left as it is.
        """
        number = self.catalogue.find_tenant(tenant)
        if number is None or self._mark() != self._own_mark():
            return []
        prefix, known = line_prefix(line), self.catalogue.names(number)
        orphans = [
            path
            for path in self._place(tenant).glob(f"*{prefix}*")
            if path.name not in known and path.is_file()
        ]
        for path in orphans:
            path.unlink(missing_ok=True)
        return [path.name for path in orphans]

    def remove_gone(self, tenant: str) -> None:
        """Remove the files of segments that count no more."""
        number = self.catalogue.find_tenant(tenant)
        names = [] if number is None else self.catalogue.gone(number)
        if number is None or not names:
            return
        folder = self.folder(tenant)
        for name in names:
            self._close(folder / name)
            (folder / name).unlink(missing_ok=True)
        with self.namespace.transaction() as tx:
            self.catalogue.forget(tx, number, names)

    def close(self) -> None:
        """Close what is open; the store can be used again."""
        for path in list(self._open):
            self._close(path)

    def _opened(self, path: Path) -> SegmentFile:
        file = self._open.get(path)
        if file is None:
            file = self._open[path] = SegmentFile(path, mapped=self._mapped)
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return file

    def _close(self, path: Path) -> None:
        file = self._open.pop(path, None)
        if file is not None:
            file.close()


def _joined(parts: list[NDArray[_Number]]) -> NDArray[_Number]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
