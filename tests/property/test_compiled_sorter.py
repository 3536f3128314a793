"""The compiled sorter and the other give the same points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.series.group_compiled import COMPILED, CompiledSorter
from headrace.series.grouping import by_tag_and_time
from headrace.series.points import Points

pytestmark = pytest.mark.skipif(not COMPILED, reason="there was no C compiler")

READINGS = st.lists(st.tuples(st.integers(0, 12) | st.integers(0, 2_000), st.integers(0, 20)), max_size=60)


def points_of(readings, *, ordered):
    times = [time for _, time in readings]
    return Points(
        np.array([code for code, _ in readings], np.uint32),
        np.array(sorted(times) if ordered else times, np.int64),
        np.arange(len(readings), dtype=np.float64),
    )


@pytest.fixture(scope="module")
def sorter():
    return CompiledSorter()


@given(readings=READINGS, ordered=st.booleans())
@settings(deadline=None)
def test_points_are_sorted_alike_and_of_repeated_ones_the_last_stays(sorter, readings, ordered):
    points = points_of(readings, ordered=ordered)
    found, wanted = sorter(points), by_tag_and_time(points)
    assert found.codes.tolist() == wanted.codes.tolist()
    assert found.times_us.tolist() == wanted.times_us.tolist()
    assert found.values.tolist() == wanted.values.tolist()


def test_times_that_go_back_all_the_way_are_sorted_too(sorter):
    points = points_of([(1, 1_000 - at) for at in range(1_000)], ordered=False)
    assert sorter(points).times_us.tolist() == list(range(1, 1_001))
    assert sorter(points).values.tolist() == list(range(999, -1, -1))
