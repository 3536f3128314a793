"""Compaction while a job runs: a thread of its first instance, with a store and turns of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.clock import Clock
from headrace.errors import HeadraceError, Transient
from headrace.local.ownership import Owned
from headrace.series.catalogue import EVER_US
from headrace.series.compaction import compact
from headrace.series.retention import drop_before, newest_segment
from headrace.series.store import Store

#: How often the thread looks whether anything is due, and what it rests behind a fault that may pass.
_EVERY_S: Final = 2.0
_AFTER_FAULT_S: Final = 30.0

#: How often it looks for points that are too old.
_OLD_EVERY_S: Final = 60.0

#: Bytes that a point takes while it is compacted.
_POINT_BYTES: Final = 100

_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Compacts:
    """A store that is compacted, and for how many days points are kept: of each tenant that differs."""

    store: Callable[[], Store]
    retention_days: float | None
    of_tenants: Mapping[str, float]

    def kept_from_us(self, tenant: str, now_us: int) -> int:
        """Return from when on points of a tenant are kept."""
        days = self.of_tenants.get(tenant, self.retention_days)
        return EVER_US[0] if days is None else now_us - int(days * _DAY_US)


class Compactor:
    """Compacts what is due until it is stopped; `failed` is what it died of."""

    def __init__(
        self,
        stores: Sequence[Compacts],
        memory_bytes: int,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._stores, self._clock, self._say = stores, clock, say
        self._points = max(100_000, memory_bytes // _POINT_BYTES)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compaction", daemon=True)
        self.failed: BaseException | None = None
        self._seen: dict[tuple[str, str], int] = {}
        self._next_old_ns = 0

    def start(self) -> None:
        """Begin, unless there is nothing to compact."""
        if self._stores:
            self._thread.start()

    def stop(self) -> None:
        """End behind the compaction that it is in."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        opened = [(own, own.store()) for own in self._stores]
        try:
            pause_s = 0.0
            while not self._stopping.wait(pause_s):
                pause_s = _EVERY_S
                try:
                    for own, store in opened:
                        self._compact(own, store)
                except Transient as error:
                    self._say(f"compaction waits: {error}")
                    pause_s = _AFTER_FAULT_S
        except BaseException as error:  # told by the instance, which then ends
            self.failed = error
        finally:
            for _, store in opened:
                with contextlib.suppress(HeadraceError, OSError):
                    store.close()

    def _compact(self, own: Compacts, store: Store) -> None:
        look_for_old = self._clock.monotonic_ns() >= self._next_old_ns
        if look_for_old:
            self._next_old_ns = self._clock.monotonic_ns() + int(_OLD_EVERY_S * 1e9)
        for tenant in store.catalogue.tenants():
            newest, key = newest_segment(store, tenant), (store.name, tenant)
            if self._stopping.is_set():
                return
            if not look_for_old and self._seen.get(key) == newest:
                continue
            kept_from_us = own.kept_from_us(tenant, self._clock.now_us())
            with contextlib.suppress(Owned):  # somebody else compacts this tenant now
                if look_for_old:
                    drop_before(store, tenant, kept_from_us)
                if self._seen.get(key) != newest:
                    compact(
                        store,
                        tenant,
                        keep_from_us=kept_from_us,
                        points_at_once=self._points,
                        wanted=lambda: not self._stopping.is_set(),
                    )
                    self._seen[key] = newest
