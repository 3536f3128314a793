"""Reference data of files: read when a job starts and now and then, each version kept while it is needed.

A path with ``{date}`` is a file for each time: it is valid for events of that time and later, up to that of
the next one. Any other path is one file: as it is when it is read it is valid for whatever comes from then
on. What a job has noticed is on record, with the content, and each epoch says how much it knew: a state that
is rebuilt finds the data as they were, whatever has become of the files.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Annotated, Final

import msgspec

from headrace.connect.file_patterns import PathPattern, is_pattern
from headrace.engine.given import batch_of, reference_of
from headrace.engine.joins.reference import Reference
from headrace.engine.operator import NEVER_US
from headrace.engine.snapshot import decode, encode
from headrace.errors import Fatal, HeadraceError, UserError
from headrace.events.batch import Batch
from headrace.local.reference_versions import Version, VersionRecord

#: How often files of times are looked for unless the settings say so.
_TIMED_SECONDS: Final = 60.0

_ROWS: Final = "rows"


class ReferenceSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="reference", tag_field="kind"
):
    """``kind = "reference"``: rows that events are looked up in, of the JSON, CSV or Parquet file `path`.

    It is read again every `refresh_seconds`; with ``{date}`` in it there is a file for each time.
    """

    path: str | None = None
    refresh_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    date_format: str = "YYYY-MM-DD"
    time_format: str = "HH"

    def __post_init__(self) -> None:
        if self.path is not None and self.pattern.is_pattern and not self.pattern.is_timed:
            raise ValueError(f"path: expected one file, or a path with {{date}}, found {self.path!r}")
        if self.path is not None and is_pattern(self.path):
            raise ValueError(f"path: expected no *, ? or [ beside {{date}} and {{time}}, found {self.path!r}")

    @property
    def pattern(self) -> PathPattern:
        """The path as a pattern."""
        return PathPattern(self.path or "", self.date_format, self.time_format)


def load_reference(name: str, settings: ReferenceSettings, folder: Path) -> Reference:
    """Return reference data as files are now; raises UserError or DataError for one that cannot be read."""
    if not settings.path:
        raise UserError(f"inputs.{name}.path is missing: expected a JSON, CSV or Parquet file")
    pattern = settings.pattern
    if not pattern.is_timed:
        return reference_of(name, folder / settings.path)
    batches = [
        (pattern.time_us(file) or 0, batch_of(f"reference {name!r}", folder / file))
        for file in pattern.matching(folder)
    ]
    return Reference.of_snapshots(batches)


class FileReference:
    """The reference data of one input of a job; what is noticed is put on `record`.

    Raises UserError or DataError if there are none that can be read.
    """

    def __init__(self, name: str, settings: ReferenceSettings, folder: Path, record: VersionRecord) -> None:
        if not settings.path:
            raise UserError(f"inputs.{name}.path is missing: expected a JSON, CSV or Parquet file")
        self._name, self._folder, self._record = name, folder, record
        self._pattern = settings.pattern
        self.refresh_seconds = settings.refresh_seconds
        if self.refresh_seconds is None and self._pattern.is_timed:
            self.refresh_seconds = _TIMED_SECONDS
        self._versions: list[Version] = []
        self._batches: dict[str, Batch] = {}
        self._look(strict=True)

    @property
    def known(self) -> int:
        """How many versions are known."""
        return self._versions[-1].number + 1 if self._versions else 0

    def look(self) -> None:
        """Notice what has changed; a file that cannot be read now is looked at again later."""
        self._look(strict=False)

    def at(self, known: int) -> Reference:
        """Return the data as they were when so many versions were known."""
        versions = [version for version in self._versions if version.number < known]
        if not self._pattern.is_timed:
            versions = versions[-1:]
            if not versions or versions[0].number != known - 1:
                raise Fatal(f"reference data '{self._name}', version {known}, are not on record any more")
        self._batches = {v.hash: self._batch(v) for v in versions}
        return Reference.of_snapshots(
            [(NEVER_US if v.start_us is None else v.start_us, self._batches[v.hash]) for v in versions]
        )

    def _look(self, *, strict: bool) -> None:
        self._versions = self._record.read()
        for name in self._files():
            with contextlib.suppress(FileNotFoundError):
                seen = _seen(self._folder / name)
                if not any((v.name, v.seen) == (name, seen) for v in self._latest(name)):
                    self._notice(name, seen, strict=strict)
        if strict and not self._versions:
            raise UserError(f"inputs.{self._name}.path: no file matches {self._pattern.path} yet")

    def _files(self) -> list[str]:
        if self._pattern.is_timed:
            return self._pattern.matching(self._folder)
        return [self._pattern.path]

    def _latest(self, name: str) -> list[Version]:
        """Return the last version that a file gave, if there is one."""
        if not self._pattern.is_timed:
            return self._versions[-1:]
        return [version for version in self._versions if version.name == name][-1:]

    def _notice(self, name: str, seen: str, *, strict: bool) -> None:
        try:
            batch = batch_of(f"reference {self._name!r}", self._folder / name)
        except HeadraceError:
            if strict:
                raise
            return
        content = encode({_ROWS: batch})
        digest = hashlib.sha256(content).hexdigest()
        for last in self._latest(name):
            if last.hash == digest:
                self._record.see(last._replace(seen=seen))
                self._versions = self._record.read()
                return
        start_us = self._pattern.time_us(name) if self._pattern.is_timed else None
        version = Version(self.known, start_us, name, seen, digest)
        if self._record.add(version, content):
            self._batches[digest] = batch
        self._versions = self._record.read()

    def _batch(self, version: Version) -> Batch:
        if version.hash in self._batches:
            return self._batches[version.hash]
        content = self._record.content(version.hash)
        batch = None if content is None else decode(content).get(_ROWS)
        if not isinstance(batch, Batch):
            raise Fatal(f"reference data '{self._name}', {version.name}, are not on record any more")
        return batch


def _seen(path: Path) -> str:
    found = path.stat()
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"
