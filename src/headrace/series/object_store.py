"""Datasets in an object store: S3, Google Cloud, Azure and what speaks as they do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import obstore
from obstore.exceptions import PermissionDeniedError, UnauthenticatedError, UnknownConfigurationKeyError
from obstore.store import MemoryStore, ObjectStore, from_url

from headrace.errors import Transient, UserError
from headrace.names import checked_name
from headrace.series.dataset import FileGone, FileReader, Listed, checked_file, is_left_out, unpacked

#: A request is tried again for so long; then whoever leased the file gives it back and tries later.
_TRIED_FOR: Final = timedelta(seconds=30)

#: Bytes that the body of an object is taken by.
_PIECE_BYTES: Final = 1024 * 1024


def open_object_store(url: str) -> ObjectFiles:
    """Return the store at a URL; keys come from the environment, as the store's own tools read them."""
    try:
        if url.startswith("memory:"):
            return ObjectFiles(MemoryStore(), url)
        return ObjectFiles(from_url(url, retry_config={"retry_timeout": _TRIED_FOR}), url)
    except (ValueError, TypeError, UnknownConfigurationKeyError, obstore.exceptions.BaseError) as error:
        raise UserError(
            f"{url} names no object store: {_first_line(error)}. URLs are such as s3://bucket/readings, "
            "gs://bucket/readings and az://container/readings"
        ) from None


class ObjectFiles:
    """An object store whose first level of names are the tenants."""

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store, self._url = store, url

    def list_tenants(self) -> list[str]:
        """Return the names of the first level, in order."""
        with _told(self._url):
            found = obstore.list_with_delimiter(self._store)["common_prefixes"]
        return sorted(name for name in (str(prefix).rstrip("/") for prefix in found) if name[0] != ".")

    def list_files(self, tenant: str) -> Iterator[Listed]:
        """Yield the files of a tenant, as the store orders them."""
        prefix = checked_name(tenant, "tenant") + "/"
        with _told(self._url):
            for page in obstore.list(self._store, prefix):
                for item in page:
                    if (listed := _listed(item, prefix)) is not None:
                        yield listed

    def open(self, tenant: str, file: str) -> FileReader:
        """Open a file of a tenant: one request, and so one state of it."""
        path = f"{checked_name(tenant, 'tenant')}/{checked_file(file)}"
        with _told(self._url):
            try:
                result = obstore.get(self._store, path)
            except FileNotFoundError:
                raise FileGone(self._url, tenant, file) from None
            return unpacked(_ObjectReader(result, self._url), Path(path))


def _listed(item: Any, prefix: str) -> Listed | None:
    file = item["path"].removeprefix(prefix)
    try:
        if is_left_out(checked_file(file)):
            return None
    except UserError:
        return None
    modified_us = int(item["last_modified"].timestamp() * 1_000_000)
    return Listed(file, item["size"], item["e_tag"] or str(modified_us * 1000), modified_us)


class _ObjectReader:
    """An object being read, a piece at a time."""

    def __init__(self, result: Any, url: str) -> None:
        meta = result.meta
        self.size_bytes: int = meta["size"]
        self.changed: str = meta["e_tag"] or str(int(meta["last_modified"].timestamp() * 1_000_000) * 1000)
        self._pieces = iter(result.stream(min_chunk_size=_PIECE_BYTES))
        self._held = memoryview(b"")
        self._url = url

    def readinto(self, memory: memoryview) -> int:
        """Read the next bytes, 0 at the end."""
        if not self._held:
            with _told(self._url):
                self._held = memoryview(next(self._pieces, b""))
        read = min(len(memory), len(self._held))
        memory[:read] = self._held[:read]
        self._held = self._held[read:]
        return read

    def close(self) -> None:
        """Let go of the rest of the object."""
        self._pieces, self._held = iter(()), memoryview(b"")


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what a store refuses into errors for a user."""
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise UserError(
            f"{url} refuses access: {_first_line(error)}. Check the keys in the environment, such as "
            "AWS_ACCESS_KEY_ID or AZURE_STORAGE_ACCOUNT_KEY"
        ) from None
    except FileNotFoundError as error:
        raise UserError(f"{url} is not there: {_first_line(error)}. Check its name") from None
    except (obstore.exceptions.BaseError, OSError, ValueError) as error:
        raise Transient(f"{url} does not answer: {_first_line(error)}. It is tried again later") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
