"""Retention: segments all of whose points are too old are removed; compaction drops the points of others."""

from __future__ import annotations

from typing import Final

from headrace.faults import crash_point
from headrace.local.ownership import Ownership
from headrace.series.catalogue import EVER_US
from headrace.series.store import Store

_NEWEST: Final = "SELECT coalesce(max(id), 0) FROM series_segment WHERE tenant_id = ?"


def newest_segment(store: Store, tenant: str) -> int:
    """Return what changes when a tenant gets another segment; asking costs next to nothing."""
    with store.namespace.reading() as connection:
        newest: int = connection.execute(_NEWEST, (store.catalogue.known_tenant(tenant),)).get
    return newest


def drop_before(store: Store, tenant: str, before_us: int) -> int:
    """Remove the segments of a tenant without a point at or after `before_us`; returns how many those were.

    Raises `Owned` while another process compacts the tenant.
    """
    number = store.catalogue.find_tenant(tenant)
    if number is None or before_us == EVER_US[0]:
        return 0
    old = [segment for segment in store.catalogue.segments(number) if segment.last_us < before_us]
    if not old:
        return 0
    ownership = Ownership.take(store.namespace, f"series {store.name}", f"compaction {tenant}", "retention")
    try:
        with store.namespace.transaction() as tx:
            ownership.check(tx)
            store.catalogue.remove(tx, number, old)
        crash_point("series.dropped")
        store.remove_gone(tenant)
    finally:
        ownership.release()
    return len(old)
