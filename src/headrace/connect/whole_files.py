"""Outputs whose files appear whole: rows wait in a part file, committed, until a rule closes it.

A commit says how far a part counts, and that it is closed: from then on the name and the content of its file
stay. The file is made of the part under another name and synced; the next commit puts it in its place, and
lets go of the part. Whoever dies in between leaves a closed part, of which the same file is made again. So a
file is never seen before all of it is committed, and none before the one with the number before it.

Part files are in the namespace's folder under names that no two processes share: what no commit speaks of is
removed there, and a process that was overtaken writes into files that nobody reads any more.
"""

from __future__ import annotations

import errno
import filecmp
import io
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from headrace.connect.appended_file import AppendedFile, writing
from headrace.connect.file_making import Making, shown_columns
from headrace.connect.file_places import by_place, fixed_folder, misplaced, numbered_path
from headrace.connect.framed_rows import frame, frames
from headrace.connect.sink import Prepared, Rows
from headrace.errors import Fatal, UserError
from headrace.events.batch import Batch, concat
from headrace.faults import crash_point
from headrace.limits import MAX_OPEN_OUTPUT_FILES, MAX_OUTPUT_FILES_OF_BATCH
from headrace.local.files import make_folder, sync_folder
from headrace.local.namespace import Namespace, Transaction
from headrace.local.parts import Part, PartRecord, records_of_line
from headrace.local.staged import path_on_record


@dataclass(frozen=True, slots=True)
class Rules:
    """When a part is closed: at so many rows, after so many seconds, or once it has so many bytes."""

    max_rows: int | None = None
    max_seconds: float | None = None
    max_bytes: int | None = None

    def room(self, part: Part) -> int | None:
        """Return how many rows a part still takes, None if any number."""
        return None if self.max_rows is None else self.max_rows - part.rows

    def is_full(self, part: Part) -> bool:
        """Tell whether a part has all that it may have."""
        rows_full = self.max_rows is not None and part.rows >= self.max_rows
        return rows_full or (self.max_bytes is not None and part.size_bytes >= self.max_bytes)

    def due_us(self, part: Part) -> float:
        """Return when a part is to be closed, whatever it has."""
        return float("inf") if self.max_seconds is None else part.begun_us + self.max_seconds * 1e6


@dataclass(frozen=True, slots=True)
class Made:
    """The whole file of a part, under another name; None if it is in its place already."""

    part: Part
    temporary: Path | None
    path: Path


@dataclass(slots=True)
class Change:
    """What a commit is to say: how parts are from then on, and files to be put in their places."""

    begun_before: int
    begun: int
    parts: dict[int, Part] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)


class WholeFiles:
    """The parts of one output of a line, and the files made of them; `folder` is where paths start from."""

    def __init__(self, record: PartRecord, folder: Path) -> None:
        self.record, self._folder = record, folder

    def file(self, part: Part) -> Path:
        """Return the part file."""
        return self.record.folder / part.name

    def sweep(self) -> None:
        """Remove the part files, and the half-made files, that no commit speaks of."""
        parts = self.record.read()
        names = {part.name for part in parts}
        with writing(self.record.folder, "open"):
            if self.record.folder.is_dir():
                for path in self.record.folder.iterdir():
                    if path.name not in names:
                        path.unlink(missing_ok=True)
            for part in parts:
                path = self._folder / part.path
                if part.closed and path.parent.is_dir():
                    for half_made in path.parent.iterdir():
                        if _is_half_made(half_made.name, path.name):
                            half_made.unlink(missing_ok=True)

    def make(self, parts: Sequence[Part]) -> list[Made]:
        """Make the files of closed parts, under other names, synced."""
        return [self._make(part) for part in parts]

    def _make(self, part: Part) -> Made:
        path = self._folder / part.path
        source = self.file(part)
        if not source.exists():  # its file was put in its place, and the commit that says so did not come
            return Made(part, None, path)
        AppendedFile(source).check_size(part.size_bytes)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        with writing(path, "write"):
            make_folder(path.parent)
            try:
                with temporary.open("xb") as target:
                    Making.read(part.making).make(source, part.size_bytes, target)
                    target.flush()
                    os.fsync(target.fileno())
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            self._check_free(temporary, path)
        crash_point("file.made")
        return Made(part, temporary, path)

    def _check_free(self, temporary: Path, path: Path) -> None:
        """Raise `UserError` for a file that came meanwhile; one with the same content is our own."""
        if path.exists() and not filecmp.cmp(temporary, path, shallow=False):
            temporary.unlink(missing_ok=True)
            raise UserError(
                f"{path} came while output '{self.record.output}' of job '{self.record.job}' collected rows "
                "for a file of that name. Move it away, and start again"
            )

    def put(self, tx: Transaction, made: Sequence[Made]) -> None:
        """Within a commit: put files in their places, in order of their numbers, and let go of their parts.

        The names are synced before the commit is, so that no part is given up for a file that is lost.
        """
        folders = set()
        for one in made:
            if one.temporary is not None:
                with writing(one.path, "write"):
                    one.temporary.replace(one.path)
                folders.add(one.path.parent)
        for folder in folders:
            with writing(folder, "sync"):
                sync_folder(folder)
        if made:
            crash_point("file.placed")
        for one in made:
            with writing(self.file(one.part), "remove"):
                self.file(one.part).unlink(missing_ok=True)
            self.record.forget(tx, one.part.number)
        if made:
            crash_point("file.part_removed")


def _is_half_made(name: str, path_name: str) -> bool:
    return name.startswith(f".{path_name}.") and name.endswith(".tmp")


class WholeFilesSink:
    """Writes rows to files that appear whole, several at a time where the path has placeholders.

    `path` is that of the instance. `columns` are those of the query, None where the data name some.
    """

    def __init__(
        self,
        record: PartRecord,
        folder: Path,
        path: str,
        making: Making,
        rules: Rules,
    ) -> None:
        self._record, self._folder, self._rules = record, folder, rules
        self._path = path_on_record(folder, path)
        self._making = msgspec.structs.replace(making, path=self._path)
        #: The columns of CSV files, where the first rows say which; they are on record then.
        self._found_columns: tuple[str, ...] | None = None
        self._files = WholeFiles(record, folder)
        self._open: dict[str, AppendedFile] = {}
        self._next_look_us = 0.0

    def resume(self) -> None:
        """Remove what an earlier process of this line wrote and no commit published.

        Raises `UserError` if another output writes there, or for rows that are lost.
        """
        self._record.begin(self._path)
        self._files.sweep()
        if self._making.format == "csv" and self._making.columns is None:
            self._found_columns = self._record.columns()
            self._making = self._making.with_columns(self._found_columns)
        for part in self._record.read():
            if not part.closed:
                self._opened(part)
        root = fixed_folder(self._folder, self._path)
        with writing(root, "write"):
            make_folder(root)
            if not os.access(root, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "Permission denied")
        self._next_look_us = 0

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows with their types; the first rows say which columns CSV files have."""
        batch = rows.batch
        if self._making.format == "csv" and self._making.columns is None:
            self._found_columns = shown_columns(batch)
            self._making = self._making.with_columns(self._found_columns)
        failures = self._making.failures(batch) | misplaced(self._path, batch)
        if failures:
            return Prepared(b"", batch.height, failures)
        placed = list(by_place(self._path, batch))
        if len(placed) > MAX_OUTPUT_FILES_OF_BATCH:
            raise UserError(
                f"output '{self._record.output}': the rows of one batch go to {len(placed):,} files, more "
                f"than {MAX_OUTPUT_FILES_OF_BATCH:,}. Choose columns with fewer values for {self._path}"
            )
        return Prepared(b"".join(frame(piece, place) for place, piece in placed), batch.height)

    def stage(self, payload: bytes) -> Change:
        """Write and sync rows behind what counts in the parts; returns what `publish` takes."""
        now_us = self._record.clock.now_us()
        parts = [part for part in self._record.read() if not part.closed]
        for name in self._open.keys() - {part.name for part in parts}:
            self._open.pop(name).close()
        for part in parts:
            self._held(part).check(part.size_bytes)
        begun = self._record.begun()
        change = Change(begun, begun)
        open_ = {part.place: part for part in parts if self._fits(part)}
        for place, batch in self._by_place(payload):
            self._add(change, open_, place, batch, now_us)
        for part in change.parts.values():
            if not part.closed:
                self._held(part).sync()
        return change

    def _by_place(self, payload: bytes) -> Iterator[tuple[str, Batch]]:
        pieces: dict[str, list[Batch]] = {}
        for place, batch in frames(io.BytesIO(payload), len(payload)):
            pieces.setdefault(place, []).append(batch)
        for place, batches in pieces.items():
            yield place, concat(batches)

    def _add(self, change: Change, open_: dict[str, Part], place: str, batch: Batch, now_us: int) -> None:
        """Write rows of one place to its part, and to further ones when that is full."""
        at = 0
        while at < batch.height:
            part = open_.pop(place, None) or self._begin(change, place, now_us)
            piece = Batch(batch.frame.slice(at, self._rules.room(part)), batch.columns)
            payload = Making.read(part.making).waiting(piece, first=not part.rows)
            behind = self._held(part).write(payload, part.size_bytes)
            part = part._replace(size_bytes=behind, rows=part.rows + piece.height, written_us=now_us)
            change.parts[part.number] = part
            open_[place] = part
            if self._rules.is_full(part):
                self._close(change, open_, part)
            at += piece.height
        if len(open_) > MAX_OPEN_OUTPUT_FILES:
            oldest = min(open_.values(), key=lambda part: (part.written_us, part.number))
            self._close(change, open_, oldest)

    def _close(self, change: Change, open_: dict[str, Part], part: Part) -> None:
        """Let a part take no more rows; its file is made once that is committed."""
        handle = self._open[part.name]
        if part.number in change.parts:
            handle.sync()
        if part.number > change.begun_before:  # one that is on record stays ours, should the commit not come
            handle.close()
            del self._open[part.name]
        change.parts[part.number] = part._replace(closed=True)
        del open_[part.place]

    def _begin(self, change: Change, place: str, now_us: int) -> Part:
        change.begun += 1
        number = change.begun
        path = numbered_path(place, number)
        if (self._folder / path).exists():
            record = self._record
            raise UserError(
                f"{self._folder / path} is there already, and by the records output '{record.output}' of job "
                f"'{record.job}' did not write it. Move it away, or choose another path"
            )
        name = f"{number:08}-{secrets.token_hex(4)}.part"
        part = Part(number, place, path, name, self._making.text(), 0, 0, now_us, now_us, closed=False)
        self._opened(part)
        return part

    def _fits(self, part: Part) -> bool:
        """Tell whether a part takes rows as the settings are now."""
        return part.making == self._making.text()

    def settle(self, *, ending: bool = False) -> Change | None:
        """Return what is to be committed of files whose time has come, None if nothing is.

        To be called again until nothing is. When the job is `ending` all files are closed.
        """
        now_us = self._record.clock.now_us()
        if not ending and now_us < self._next_look_us:
            return None
        parts, begun = self._record.read(), self._record.begun()
        if closed := [part for part in parts if part.closed]:
            crash_point("file.closed")
            return Change(begun, begun, made=self._files.make(closed))
        due = [p for p in parts if ending or not self._fits(p) or self._rules.due_us(p) <= now_us]
        if due:
            return Change(begun, begun, {part.number: part._replace(closed=True) for part in due})
        self._next_look_us = min(map(self._rules.due_us, parts), default=float("inf"))
        return None

    def publish(self, tx: Transaction, staged: Change) -> None:
        """Within the commit: parts count as staged, and made files are in their places."""
        self._record.save(tx, staged.parts.values(), staged.begun, self._found_columns)
        self._files.put(tx, staged.made)
        # Should the commit not come, there is nothing to be found at the next look.
        soonest_us = min(map(self._rules.due_us, staged.parts.values()), default=float("inf"))
        at_once = staged.made or any(part.closed for part in staged.parts.values())
        self._next_look_us = 0 if at_once else min(self._next_look_us, soonest_us)

    def close(self) -> None:
        """Close the part files."""
        for handle in self._open.values():
            handle.close()
        self._open.clear()

    def _opened(self, part: Part) -> None:
        """Open a part file, and keep it so until it is closed, so that nobody else writes to it."""
        handle = AppendedFile(self._files.file(part))
        handle.open(part.size_bytes)
        self._open[part.name] = handle

    def _held(self, part: Part) -> AppendedFile:
        if part.name not in self._open:
            raise Fatal(
                f"output '{self._record.output}' of job '{self._record.job}' is written by another process: "
                "this one may not write any more. Nothing was stored twice; let the other go on"
            )
        return self._open[part.name]


def settle_line(
    namespace: Namespace,
    folder: Path,
    job: str,
    line: str,
    kept: Collection[str],
    check: Callable[[Transaction], None],
) -> None:
    """Make the files of a line that nobody runs now: those that are closed, and all but of outputs `kept`.

    `check` refuses a commit for a line that is another's.
    """
    for record in records_of_line(namespace, job, line):
        files = WholeFiles(record, folder)
        files.sweep()
        if record.output not in kept:
            parts = [part._replace(closed=True) for part in record.read()]
            with namespace.transaction() as tx:
                check(tx)
                record.save(tx, parts, record.begun())
        made = files.make([part for part in record.read() if part.closed])
        with namespace.transaction() as tx:
            check(tx)
            files.put(tx, made)
