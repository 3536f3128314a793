"""Lossy compression: the bound holds for every point that came, whatever the signal."""

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.clock import ManualClock
from headrace.local.namespace import Namespace
from headrace.series.compression import Compressed, Rules, compressed, record
from headrace.series.compression_settings import CompressSettings
from headrace.series.points import Points

GUIDS = [bytes([number] * 16) for number in range(256)]


def _rules(*settings_):
    return Rules(settings_, GUIDS.__getitem__)


def _points(*tags):
    """Return points of tags given as lists of (time, value)."""
    codes = np.repeat(np.arange(len(tags), dtype=np.uint32), [len(tag) for tag in tags])
    flat = [point for tag in tags for point in tag]
    return Points(codes, np.array([t for t, _ in flat], np.int64), np.array([v for _, v in flat], np.float64))


def _told(method, kept_times, kept_values, times):
    if method == "deadband":
        return kept_values[np.searchsorted(kept_times, times, "right") - 1]
    return np.interp(times, kept_times, kept_values)


_walks = st.tuples(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([0.0, 0.01, 1.0, 1e6]))


@settings(max_examples=120, deadline=None)
@given(
    st.lists(_walks, min_size=1, max_size=5),
    st.sampled_from(["deadband", "swinging-door"]),
    st.sampled_from([0.0, 0.05, 2.0]),
    st.sampled_from([None, 0.01]),
)
def test_every_point_that_came_is_told_within_the_bound(walks, method, error, gap):
    tags = []
    for seed, count, step in walks:
        random = np.random.default_rng(seed)
        times = np.cumsum(random.integers(1, 4_000, count))
        tags.append(list(zip(times.tolist(), np.cumsum(random.normal(0, step, count)).tolist(), strict=True)))
    points = _points(*tags)
    rule = CompressSettings(tags="*", method=method, error=error, max_gap_seconds=gap)
    found, records = compressed(points, _rules(rule))
    assert len(found) <= len(points)
    for code, (tag, told) in enumerate(zip(tags, records, strict=True)):
        mine = found.codes == code
        kept_times, kept_values = found.times_us[mine], found.values[mine]
        times, values = np.array([t for t, _ in tag]), np.array([v for _, v in tag])
        assert set(zip(kept_times.tolist(), kept_values.tolist(), strict=True)) <= set(tag)
        assert (kept_times[0], kept_times[-1]) == (times[0], times[-1])
        errors = np.abs(_told(method, kept_times, kept_values, times) - values)
        slack = 1e-12 * (1 + np.abs(values).max())
        assert errors.max() <= error + slack
        assert told == Compressed(code, method, error, told.largest, len(tag), int(mine.sum()))
        assert errors.max() - slack <= told.largest <= error
        if gap is not None and len(times) > 1:
            assert np.diff(kept_times).max() <= max(gap * 1e6, np.diff(times).max())


def test_a_straight_line_is_its_ends_and_a_step_is_where_it_steps():
    line = [(at * 1_000, at * 0.5) for at in range(1_000)]
    steps = [(at * 1_000, float(at >= 500)) for at in range(1_000)]
    found, _ = compressed(_points(line), _rules(CompressSettings("*", "swinging-door", error=0.01)))
    assert found.times_us.tolist() == [0, 999_000]
    found, _ = compressed(_points(steps), _rules(CompressSettings("*", "deadband", error=0.01)))
    assert found.times_us.tolist() == [0, 500_000, 999_000]


@pytest.mark.parametrize("method", ["deadband", "swinging-door"])
def test_points_are_kept_that_a_plain_loop_keeps(method):
    random = np.random.default_rng(3)
    tag = list(zip(range(0, 700_000, 1_000), np.cumsum(random.normal(size=700)).tolist(), strict=True))
    found, _ = compressed(_points(tag), _rules(CompressSettings("*", method, error=1.5)))
    kept, low, high = [tag[0]], -np.inf, np.inf
    for before, (at, value) in itertools.pairwise(tag):
        if method == "deadband":
            if abs(value - kept[-1][1]) > 1.5:
                kept.append((at, value))
            continue
        if not low <= (value - kept[-1][1]) / (at - kept[-1][0]) <= high:
            kept.append(before)
            low, high = -np.inf, np.inf
        rise, run = value - kept[-1][1], at - kept[-1][0]
        low, high = max(low, (rise - 1.5) / run), min(high, (rise + 1.5) / run)
    if kept[-1] != tag[-1]:
        kept.append(tag[-1])
    assert list(zip(found.times_us.tolist(), found.values.tolist(), strict=True)) == kept
    assert len(kept) < 300


def test_values_beyond_all_sums_are_kept():
    tag = [(1, 1e308), (2, -1e308), (3, 1e308), (4, 1e308), (5, 0.0)]
    for method in ("deadband", "swinging-door"):
        found, records = compressed(_points(tag), _rules(CompressSettings("*", method, error=1.0)))
        values = found.values.tolist()
        assert values[:3] == [1e308, -1e308, 1e308]
        assert values[-1] == 0.0
        assert records[0].largest <= 1.0


def test_only_tags_like_the_pattern_are_compressed_by_the_first_rule_that_fits():
    flat = [(at, 1.0) for at in range(1, 50)]
    rules = _rules(
        CompressSettings("01*", "deadband", error=0.5), CompressSettings("0[12]*", "swinging-door", error=0.1)
    )
    found, records = compressed(_points(flat, flat, flat), rules)
    assert np.bincount(found.codes).tolist() == [49, 2, 2]
    assert [(own.code, own.method, own.bound) for own in records] == [
        (1, "deadband", 0.5),
        (2, "swinging-door", 0.1),
    ]


def test_nothing_is_touched_without_a_rule():
    points = _points([(1, 1.0), (2, 1.0), (3, 1.0)])
    assert compressed(points, _rules()) == (points, [])
    assert compressed(points, _rules(CompressSettings("ff", "deadband", error=9)))[0] is points


def test_a_long_run_of_one_tag_keeps_the_bound_where_it_is_cut():
    random = np.random.default_rng(1)
    tag = list(zip(range(10_000), np.cumsum(random.normal(size=10_000)).tolist(), strict=True))
    found, records = compressed(_points(tag), _rules(CompressSettings("*", "swinging-door", error=5)))
    told = np.interp(np.arange(10_000), found.times_us, found.values)
    assert np.abs(told - np.array([value for _, value in tag])).max() <= 5 + 1e-9
    assert records[0].kept == len(found) < 2_000


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"error": 1.0, "error_percent_of_span": 1.0, "span": 10.0}, "either `error`"),
        ({}, "either `error`"),
        ({"error_percent_of_span": 1.0}, "go together"),
        ({"error": -1.0}, ">= 0"),
        ({"error": 1.0, "tags": "history of mine"}, "neither a GUID"),
        ({"error": 1.0, "method": "magic"}, "magic"),
    ],
)
def test_rules_that_make_no_sense_are_refused(settings_, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert({"tags": "*", "method": "deadband"} | settings_, CompressSettings)


def test_a_share_of_a_span_is_an_error_in_the_unit_of_the_values():
    rule = CompressSettings("*", "deadband", error_percent_of_span=0.5, span=200.0)
    assert rule.bound == 1.0


def test_what_was_left_out_is_on_record_and_adds_up(tmp_path):
    with Namespace.open(tmp_path, clock=ManualClock()) as namespace:
        for largest in (0.25, 0.125):
            with namespace.transaction() as tx:
                record(tx, 1, [Compressed(7, "deadband", 0.5, largest, 100, 9)])
        with namespace.reading() as connection:
            rows = connection.execute("SELECT * FROM series_compression").fetchall()
    assert rows == [(1, 7, "deadband", 0.5, 0.25, 200, 18)]
