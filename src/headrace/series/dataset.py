"""Datasets: the input files of tenants, in local folders and object stores.

A store holds a folder for each tenant, and a tenant's dataset is the files in its folder, also in folders of
that. What names a file comes from outside, from a message or a listing, and is checked before it is opened:
no name leads out of the tenant's folder, neither by ``..`` nor by a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NamedTuple, Protocol

import msgspec

from headrace.errors import DataError, UserError, disk_error
from headrace.events.formats.compression import Bounded, compression_of
from headrace.limits import MAX_FILE_NAME_BYTES
from headrace.names import checked_name, inside

#: How names of files begin and end that somebody is still writing.
_TEMPORARY_PREFIXES: Final = (".", "_")
_TEMPORARY_SUFFIXES: Final = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".swp", "~")

#: Bytes that a compressed file is unpacked by.
_UNPACKED_BYTES: Final = 1024 * 1024


class FileGone(DataError):
    """A file that a message or a listing names and that is not there any more."""

    def __init__(self, store: str, tenant: str, file: str) -> None:
        super().__init__(
            f"{file!r} of tenant {tenant!r} is gone from {store}: it was removed or renamed after it was "
            "enqueued. Put it back, give it a new time (touch) and enqueue it again if it is to be read"
        )


class FileChanged(DataError):
    """A file that was written to while it was read, so that what was read of it is no state of it."""

    def __init__(self, store: str, tenant: str, file: str) -> None:
        super().__init__(
            f"{file!r} of tenant {tenant!r} in {store} changed while it was read. Write files under another "
            "name, such as one ending in .tmp, and rename them when they are whole"
        )


class FileMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a message of the work queue says: a file to be read.

    `store` is the key of the store in the settings, `file` the path from the tenant's folder with ``/``,
    `changed` tells versions of the file apart: its etag, or when it was last written in nanoseconds.
    """

    tenant: str
    store: str
    file: str
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]
    changed: str

    def encode(self) -> bytes:
        """Return the body of the message: one JSON object."""
        return msgspec.json.encode(self)


def decode_message(body: bytes) -> FileMessage:
    """Return what a message says; raises `DataError` for one that names no file safely."""
    try:
        message = msgspec.json.decode(body, type=FileMessage)
        checked_name(message.tenant, "tenant")
        checked_name(message.store, "store")
        checked_file(message.file)
    except (msgspec.MsgspecError, UnicodeDecodeError, UserError, RecursionError) as error:
        raise DataError(
            f"the message is no file of a dataset: {error}. `headrace tags enqueue` makes such messages"
        ) from None
    return message


def checked_file(file: str) -> str:
    """Return the path of a file within a tenant's folder if it is one, else raise `UserError`."""
    parts = file.split("/")
    try:
        size_bytes = len(file.encode("utf-8"))
    except UnicodeEncodeError:
        raise UserError(f"{file[:60]!r} cannot name a file of a dataset: it is no Unicode text") from None
    if (
        size_bytes > MAX_FILE_NAME_BYTES
        or not file.isprintable()
        or "\\" in file
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise UserError(
            f"{file[:60]!r} cannot name a file of a dataset: use a path from the tenant's folder, without "
            f"'..', backslashes and control characters, of at most {MAX_FILE_NAME_BYTES} bytes"
        )
    return file


def is_left_out(file: str) -> bool:
    """Tell whether a file is hidden or temporary by its name, or by that of a folder on its way."""
    parts = file.split("/")
    return any(part.startswith(_TEMPORARY_PREFIXES) for part in parts) or parts[-1].lower().endswith(
        _TEMPORARY_SUFFIXES
    )


class Listed(NamedTuple):
    """A file of a dataset as it stands now, see `FileMessage`; `modified_us` is when it was last written."""

    file: str
    size_bytes: int
    changed: str
    modified_us: int


class FileReader(Protocol):
    """One file being read from its beginning to its end, unpacked; one thread uses it at a time."""

    #: Of the file as it is stored, when it was opened.
    size_bytes: int
    changed: str

    def readinto(self, memory: memoryview) -> int:
        """Read the next bytes, at most as many as fit; returns how many, 0 at the end of the file.

        Raises `FileChanged` at the end of a file that was written to since it was opened, `DataError` for
        damaged compression, `Transient` where the same may go through later.
        """
        ...

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        ...


class FileStore(Protocol):
    """A place with a folder for each tenant; threads may share it."""

    def list_tenants(self) -> list[str]:
        """Return the names of the folders, in order, also of those that cannot name a tenant."""
        ...

    def list_files(self, tenant: str) -> Iterator[Listed]:
        """Yield the files of a tenant that are neither hidden nor temporary nor lead elsewhere.

        Raises `UserError` for a name that no tenant has.
        """
        ...

    def open(self, tenant: str, file: str) -> FileReader:
        """Open a file. Raises `FileGone` if it is not there, `UserError` for an unsafe name."""
        ...


def open_store(place: str, base: Path) -> FileStore:
    """Return the store at a folder (from `base`, unless absolute) or at the URL of an object store.

    URLs begin with ``s3://``, ``gs://``, ``az://``, ``file://`` or ``memory://``. Nothing is asked yet.
    """
    scheme, separator, rest = place.partition("://")
    if not separator:
        return FolderStore(base / place)
    if scheme == "file":
        return FolderStore(Path("/", rest))
    try:
        from headrace.series.object_store import open_object_store  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            f"{place} needs {error.name}: install it with pip install 'headrace[stores]'"
        ) from None
    return open_object_store(place)


class FolderStore:
    """A local folder with a folder for each tenant."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list_tenants(self) -> list[str]:
        """Return the names of the folders, in order; hidden ones and links that lead out are none."""
        try:
            with os.scandir(self._folder) as entries:
                names = sorted(entry.name for entry in entries if _leads_to_folder(entry))
        except OSError as error:
            raise disk_error(error.errno or 0, self._folder, "list") from None
        return [name for name in names if not name.startswith(".") and self._within(self._folder, name)]

    def list_files(self, tenant: str) -> Iterator[Listed]:
        """Yield the files of a tenant, folder by folder in the order of names."""
        folder = self._tenant_folder(tenant)
        if folder.is_dir():
            yield from self._files(folder, folder, "")

    def open(self, tenant: str, file: str) -> FileReader:
        """Open a file of a tenant."""
        path = inside(self._tenant_folder(tenant), checked_file(file))
        gone = FileGone(str(self._folder), tenant, file)
        try:
            # A named pipe would make whoever opens it wait for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise gone from None
        except OSError as error:
            raise disk_error(error.errno or 0, path, "read") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise DataError(f"{path} is no regular file")
        changed = FileChanged(str(self._folder), tenant, file)
        return unpacked(_LocalReader(descriptor, path, changed), path)

    def _tenant_folder(self, tenant: str) -> Path:
        return inside(self._folder, checked_name(tenant, "tenant"))

    @staticmethod
    def _within(folder: Path, name: str) -> bool:
        try:
            inside(folder, name)
        except (UserError, OSError, RuntimeError):  # a link that leads out, or to itself
            return False
        return True

    def _files(self, root: Path, folder: Path, prefix: str) -> Iterator[Listed]:
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return  # removed since its name was read
        except OSError as error:
            raise disk_error(error.errno or 0, folder, "list") from None
        for entry in found:
            file = prefix + entry.name
            if is_left_out(file) or not _is_nameable(file):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._files(root, Path(entry.path), f"{file}/")
            elif not entry.is_symlink() or self._within(root, file):
                yield from _listed(entry, file)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_nameable(file: str) -> bool:
    try:
        checked_file(file)
    except UserError:
        return False
    return True


def _listed(entry: os.DirEntry[str], file: str) -> Iterator[Listed]:
    """Yield a file as it stands, nothing if it is gone or no regular file."""
    try:
        status = entry.stat()
    except OSError:
        return
    if stat.S_ISREG(status.st_mode):
        yield Listed(file, status.st_size, str(status.st_mtime_ns), status.st_mtime_ns // 1000)


class _LocalReader:
    """A local file being read, straight into the caller's memory."""

    def __init__(self, descriptor: int, path: Path, changed: FileChanged) -> None:
        self._file: BinaryIO = os.fdopen(descriptor, "rb", buffering=0)
        self._path, self._changed = path, changed
        self.size_bytes, self.changed = self._state()

    def _state(self) -> tuple[int, str]:
        status = os.fstat(self._file.fileno())
        return status.st_size, str(status.st_mtime_ns)

    def readinto(self, memory: memoryview) -> int:
        """Read the next bytes, 0 at the end."""
        try:
            read: int = self._file.readinto(memory)  # type: ignore[attr-defined]
            if not read and len(memory) and self._state() != (self.size_bytes, self.changed):
                raise self._changed
        except OSError as error:
            raise disk_error(error.errno or 0, self._path, "read") from None
        return read

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class UnpackedReader:
    """A compressed file being read; one that unpacks far too large, as a bomb does, is a `DataError`."""

    def __init__(self, packed: FileReader, path: Path) -> None:
        self._packed = packed
        self.size_bytes, self.changed = packed.size_bytes, packed.changed
        self._stream = Bounded(_Bytes(packed), path, compression_of(path))  # type: ignore[arg-type]

    def readinto(self, memory: memoryview) -> int:
        """Read the next unpacked bytes, 0 at the end."""
        piece = self._stream.read(min(len(memory), _UNPACKED_BYTES))
        memory[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Close the file."""
        self._packed.close()


class _Bytes:
    """A reader as the file of bytes that unpacking reads."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader

    def read(self, size: int) -> bytes:
        memory = bytearray(size)
        return bytes(memory[: self._reader.readinto(memoryview(memory))])


def unpacked(reader: FileReader, path: Path) -> FileReader:
    """Return a reader of what a file holds, unpacked if its name says that it is compressed."""
    return reader if compression_of(path) == "none" else UnpackedReader(reader, path)
