"""A store against a dictionary: whatever is stored, stored again and compacted, each point is read once."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.clock import ManualClock
from headrace.local.namespace import Namespace

pytest.importorskip("pyarrow")

from headrace.series.compaction import compact
from headrace.series.grouping import by_tag_and_time
from headrace.series.points import Points
from headrace.series.segments import segment_name, write_segment
from headrace.series.store import Store

_value = st.one_of(
    st.integers(-1000, 1000).map(lambda tenths: tenths / 10),
    st.sampled_from([26.7074, 0.1 + 0.2, -0.0, 0.0, 1e-9, 1e300, 2.0**53, 2.0**53 + 2, 123456.789012345]),
    st.floats(allow_nan=False, allow_infinity=False),
)
_point = st.tuples(
    st.integers(0, 5), st.integers(-3, 12), st.sampled_from([1, 1_000, 1_000_000]), _value
).map(lambda drawn: (drawn[0], drawn[1] * drawn[2], drawn[3]))
_step = st.one_of(
    st.lists(_point, min_size=1, max_size=12),
    st.sampled_from(["compact", "everything", "again"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_step, max_size=10), st.integers(1, 9))
def test_a_point_is_read_once_with_its_newest_value(steps, points_at_once):
    with (
        tempfile.TemporaryDirectory() as folder,
        Namespace.open(Path(folder), clock=ManualClock()) as namespace,
    ):
        store = Store(namespace, "history", Path(folder) / "history")
        tenant = store.catalogue.tenant("acme")
        expected, numbers, last = {}, itertools.count(), None
        for step in steps:
            if isinstance(step, list):
                last = (segment_name("line", [str(next(numbers))]), step)
                _store(store, tenant, *last)
                expected.update({(code, at): value for code, at, value in step})
            elif step == "again" and last is not None:
                _store(store, tenant, *last)  # as after a kill: the same messages make the same segment
            elif step != "again":
                compact(store, "acme", everything=step == "everything", points_at_once=points_at_once)
        _check(store, expected)
        compact(store, "acme", everything=True, points_at_once=points_at_once)
        _check(store, expected)
        files = {path.name for path in store.folder("acme").iterdir()}
        assert files == {segment.name for segment in store.catalogue.segments(tenant)}


def _store(store, tenant, name, points):
    codes, times_us, values = zip(*points, strict=True)
    arrays = Points(np.array(codes, np.uint32), np.array(times_us, np.int64), np.array(values, np.float64))
    if name in store.catalogue.names(tenant):
        return  # its messages are finished: nobody has them any more
    segment = write_segment(store.folder("acme"), name, by_tag_and_time(arrays))
    with store.namespace.transaction() as tx:
        store.catalogue.add(tx, tenant, segment)


def _check(store, expected):
    for code in range(6):
        points = store.read("acme", code)
        found = dict(zip(points.times_us.tolist(), map(repr, points.values.tolist()), strict=True))
        assert found == {at: repr(value) for (own, at), value in expected.items() if own == code}
        assert points.times_us.tolist() == sorted(found)
        part = store.read("acme", code, 0, 3_000)
        assert part.times_us.tolist() == [at for at in sorted(found) if 0 <= at < 3_000]
