"""Reading histories: selection of tags, late and repeated points, and downsampling against slow oracles."""

import math
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.clock import ManualClock
from headrace.errors import UserError
from headrace.local.namespace import Namespace

pytest.importorskip("pyarrow")

from headrace.series.compaction import compact
from headrace.series.downsample import lttb, sampled
from headrace.series.grouping import by_tag_and_time
from headrace.series.points import Points, guid_text
from headrace.series.read import SeriesReader
from headrace.series.segments import segment_name, write_segment
from headrace.series.store import Store

TAGS = 40
GUIDS = [bytes([number, 255 - number] * 8) for number in range(TAGS)]


@pytest.fixture
def reader(tmp_path):
    with Namespace.open(tmp_path, clock=ManualClock()) as namespace:
        store = Store(namespace, "history", tmp_path / "history")
        with SeriesReader(store) as opened:
            yield opened


def _stored(reader, number, points, tenant="acme"):
    store = reader.store
    tenant_id = store.catalogue.tenant(tenant)
    store.catalogue.codes(tenant_id, GUIDS)
    columns = zip(*points, strict=True)
    codes, times, values = (
        np.array(column, kind)
        for column, kind in zip(columns, (np.uint32, np.int64, np.float64), strict=True)
    )
    found = by_tag_and_time(Points(codes, times, values))
    segment = write_segment(store.folder(tenant), segment_name("line", [str(number)]), found)
    with store.namespace.transaction() as tx:
        store.catalogue.add(tx, tenant_id, segment)


def _filled(reader, seed=6):
    """Store points of all tags in ten segments, late and repeated ones too; returns what is to be read."""
    random = np.random.default_rng(seed)
    expected = {}
    for number in range(10):
        codes = random.integers(0, TAGS, 500)
        times = random.integers(number * 800_000, (number + 3) * 1_000_000, 500)
        times = times - times % 50_000
        points = list(
            zip(codes.tolist(), times.tolist(), random.normal(size=500).round(2).tolist(), strict=True)
        )
        _stored(reader, number, points)
        expected.update({(code, at): value for code, at, value in points})
    return expected


def _rows(frame):
    return [(tag, time, value) for tag, time, value in frame.iter_rows()]


def _expected_rows(expected, codes, start_us=-math.inf, end_us=math.inf):
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [
        (guid_text(GUIDS[code]), epoch + timedelta(microseconds=at), value)
        for (code, at), value in sorted(expected.items())
        if code in codes and start_us <= at < end_us
    ]


@pytest.mark.parametrize("compacted", [False, True])
def test_one_some_and_many_tags_are_read_with_the_newest_point_of_each_time(reader, compacted, monkeypatch):
    expected = _filled(reader)
    if compacted:
        compact(reader.store, "acme", everything=True, points_at_once=700)
    monkeypatch.setattr("headrace.series.read.POINTS_AT_ONCE", 300)
    every_other = [guid_text(guid) for guid in GUIDS[::2]]
    for tags, codes in ((guid_text(GUIDS[7]), {7}), (every_other[:3], {0, 2, 4}), ("*", set(range(TAGS)))):
        assert _rows(reader.read(tags)) == _expected_rows(expected, codes)
        assert _rows(reader.read(tags, 2_000_000, 4_550_000)) == _expected_rows(
            expected, codes, 2_000_000, 4_550_000
        )
    assert _rows(reader.read(every_other)) == _expected_rows(expected, set(range(0, TAGS, 2)))
    assert len(list(reader.frames("*"))) > 1


@pytest.mark.parametrize("compacted", [False, True])
def test_the_last_value_of_tags_is_that_of_their_last_time_stored_last(reader, compacted):
    expected = _filled(reader)
    _stored(reader, "late", [(3, 5, 1.5), (4, max(at for code, at in expected if code == 4), 99.0)])
    expected[4, max(at for code, at in expected if code == 4)] = 99.0
    expected[3, 5] = 1.5
    if compacted:
        compact(reader.store, "acme", everything=True)
    last = {}
    for (code, at), value in sorted(expected.items()):
        last[code] = {(code, at): value}
    for codes in ({3}, {4}, {1, 9, 30}, set(range(TAGS))):
        wanted = {key: value for code in codes for key, value in last[code].items()}
        found = reader.read([guid_text(GUIDS[code]) for code in codes], how="last")
        assert _rows(found) == _expected_rows(wanted, codes)


def test_the_last_value_of_one_tag_reads_few_row_groups(reader, monkeypatch):
    for number in range(20):
        _stored(reader, number, [(code, number * 100, float(number)) for code in range(TAGS)])
    read = []
    own = reader.store.read_blocks
    monkeypatch.setattr(reader.store, "read_blocks", lambda *given: read.append(given) or own(*given))
    assert reader.read(guid_text(GUIDS[5]), how="last")["value"].to_list() == [19.0]
    assert len(read) == 1


def test_a_reader_sees_what_is_committed_and_compacted_while_it_is_open(reader):
    _stored(reader, 1, [(1, 10, 1.0)])
    assert len(reader.read("*")) == 1
    _stored(reader, 2, [(1, 20, 2.0), (1, 10, 3.0)])
    assert reader.read("*")["value"].to_list() == [3.0, 2.0]
    compact(reader.store, "acme", everything=True)
    assert reader.read("*")["value"].to_list() == [3.0, 2.0]


def test_files_that_another_process_compacted_away_are_looked_for_anew(reader, tmp_path):
    expected = _filled(reader)
    assert len(reader.read("*")) == len(expected)
    index = reader.store.index("acme")
    with Namespace.open(tmp_path, clock=ManualClock()) as namespace:
        other = Store(namespace, "history", tmp_path / "history")
        compact(other, "acme", everything=True)
    reader.store.close()
    reader.store._indices["acme"] = (reader.store.namespace.version(), index)  # as between two looks
    assert len(reader.read(guid_text(GUIDS[3]))) == sum(code == 3 for code, _ in expected)


def test_tags_are_found_by_how_they_begin_and_by_pattern(reader):
    _stored(reader, 1, [(code, code, 1.0) for code in range(TAGS)])
    for pattern, codes in (
        ("0a", {10}),
        ("0*", set(range(16))),
        ("0AF5-*", set()),
        ("*f8*", {7}),
        ("?[1-2]*", {1, 2, 17, 18, 33, 34}),
    ):
        if codes:
            assert {
                GUIDS.index(bytes.fromhex(t.replace("-", ""))) for t in reader.read(pattern)["tag"]
            } == codes
        else:
            with pytest.raises(UserError, match="no tag is like"):
                reader.read(pattern)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tags": "nonsense"}, "neither a GUID"),
        ({"tags": "00ff00ff-00ff-00ff-00ff-00ff00ff00fe"}, "Did you mean '00ff00ff"),
        ({"tags": "*", "tenant": "acne"}, "Did you mean 'acme'"),
        ({"tags": "*", "how": "median"}, "expected one of raw, last"),
        ({"tags": "*", "how": "mean"}, "either `every`"),
        ({"tags": "*", "how": "mean", "every": 1, "points": 5}, "either `every`"),
        ({"tags": "*", "how": "raw", "points": 5}, "neither `every` nor `points`"),
        ({"tags": "*", "how": "lttb", "every": 1}, "needs `points`"),
        ({"tags": "*", "how": "lttb", "points": 2}, "more `points`"),
        ({"tags": "*", "how": "mean", "every": 0}, "at least a microsecond"),
        ({"tags": "*", "how": "mean", "every": math.nan}, "a length of time"),
        ({"tags": "*", "start": "yesterday"}, "expected a time such as"),
        ({"tags": "*", "end": date(2026, 5, 1)}, "expected a time such as"),
        ({"tags": "*", "how": "mean", "every": "5m"}, "a length of time"),
        ({"tags": "*", "how": "mean", "every": timedelta.max}, "at most 3,652,059 days"),
        ({"tags": "*", "how": "mean", "points": 2.5}, "a whole number"),
        ({"tags": "*", "how": None}, "expected one of raw, last"),
        ({"tags": None}, "a GUID or how GUIDs begin"),
        ({"tags": ["00ff", 5]}, "a GUID or how GUIDs begin"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_can(reader, given, message):
    _stored(reader, 1, [(0, 1, 1.0)])
    with pytest.raises(UserError, match=message):
        reader.read(**given)


def test_a_tenant_is_named_where_there_are_several_and_sees_only_its_own(reader):
    _stored(reader, 1, [(0, 1, 1.0)])
    assert len(reader.read("*")) == 1
    _stored(reader, 2, [(0, 2, 2.0)], tenant="zeta")
    with pytest.raises(UserError, match="several tenants"):
        reader.read("*")
    assert reader.read("*", tenant="zeta")["value"].to_list() == [2.0]


def test_an_empty_store_says_so(reader):
    with pytest.raises(UserError, match="is empty"):
        reader.read("*")


def test_downsampling_takes_each_tag_by_itself_even_where_it_comes_in_pieces(reader, monkeypatch):
    expected = _filled(reader)
    monkeypatch.setattr("headrace.series.read.POINTS_AT_ONCE", 50)
    found = reader.read("*", how="mean", every=timedelta(seconds=1))
    wanted = {}
    for (code, at), value in expected.items():
        wanted.setdefault((code, at // 1_000_000 * 1_000_000), []).append(value)
    means = {key: math.fsum(values) / len(values) for key, values in wanted.items()}
    rows = _expected_rows(means, set(range(TAGS)))
    assert [row[:2] for row in _rows(found)] == [row[:2] for row in rows]
    assert found["value"].to_list() == pytest.approx([row[2] for row in rows])


_curves = st.lists(
    st.tuples(st.integers(-10_000, 10_000), st.floats(-1e6, 1e6).map(lambda value: round(value, 3))),
    min_size=1,
    max_size=120,
    unique_by=lambda point: point[0],
).map(sorted)


def test_stretches_take_no_more_memory_than_points_however_many_are_asked_for():
    first_us, last_us = -62_135_596_800_000_000, 253_402_300_799_999_999
    times, values = np.array([first_us, 0, 1, last_us]), np.array([1.0, 2.0, 3.0, 4.0])
    coarse = sampled(times, values, "mean", None, 10**9)
    span_us = last_us - first_us + 1
    middle_us, end_us = (
        first_us + math.ceil(Fraction(span_us * ((at - first_us) * 10**9 // span_us), 10**9))
        for at in (0, last_us)
    )
    assert coarse[0].tolist() == [first_us, middle_us, end_us]
    assert coarse[1].tolist() == [1.0, 2.5, 4.0]
    fine = sampled(times, values, "mean", None, 10**30)
    assert [each.tolist() for each in fine] == [times.tolist(), values.tolist()]


@settings(max_examples=150, deadline=None)
@given(_curves, st.sampled_from(["min", "max", "mean", "minmax"]), st.integers(2, 40), st.booleans())
def test_stretches_of_time_give_what_a_plain_loop_gives(curve, how, size, by_length):
    times, values = np.array([t for t, _ in curve]), np.array([v for _, v in curve])
    length, points = (size * 37, None) if by_length else (None, size)
    found = sampled(times, values, how, length, points)
    first, span = curve[0][0], curve[-1][0] - curve[0][0] + 1
    count = size // 2 if how == "minmax" else size
    groups = {}
    for at, value in curve:
        if by_length:
            begin = at // length * length
        else:
            begin = first + math.ceil(Fraction(span * ((at - first) * count // span), count))
        groups.setdefault(begin, []).append((at, value))
    expected = []
    for begin, group in groups.items():
        least = min(group, key=lambda point: (point[1], point[0]))
        most = min(group, key=lambda point: (-point[1], point[0]))
        if how == "minmax":
            expected += sorted({least, most})
        elif how == "mean":
            expected.append((begin, math.fsum(value for _, value in group) / len(group)))
        else:
            expected.append((begin, least[1] if how == "min" else most[1]))
    assert found[0].tolist() == [at for at, _ in expected]
    assert found[1].tolist() == pytest.approx([value for _, value in expected], abs=1e-6)
    if not by_length:
        assert len(found[0]) <= size


@settings(max_examples=100, deadline=None)
@given(_curves, st.integers(3, 30))
def test_largest_triangles_are_those_of_a_plain_loop(curve, points):
    times, values = np.array([t for t, _ in curve]), np.array([v for _, v in curve])
    kept = lttb(times, values, points).tolist()
    if len(curve) <= points:
        assert kept == list(range(len(curve)))
        return
    assert len(kept) == points
    assert (kept[0], kept[-1]) == (0, len(curve) - 1)
    bounds = [1 + k * (len(curve) - 2) // (points - 2) for k in range(points - 1)]
    exact = [(Fraction(t), Fraction(v)) for t, v in curve]
    for bucket in range(points - 2):
        mine = range(bounds[bucket], bounds[bucket + 1])
        then = exact[bounds[bucket + 1] : bounds[bucket + 2]] if bucket + 2 < len(bounds) else [exact[-1]]
        mean = tuple(sum(axis) / len(then) for axis in zip(*then, strict=True))
        a = exact[kept[bucket]]
        areas = {
            at: abs((a[0] - mean[0]) * (exact[at][1] - a[1]) - (a[0] - exact[at][0]) * (mean[1] - a[1]))
            for at in mine
        }
        assert kept[bucket + 1] in areas
        largest = max(areas.values())
        assert areas[kept[bucket + 1]] >= largest - Fraction(1, 10**7) * (1 + largest)


def test_sums_beyond_doubles_still_have_a_mean():
    found = sampled(np.arange(3), np.array([1.5e308, 1.5e308, 1.5e308]), "mean", 10, None)
    assert found[1].tolist() == pytest.approx([1.5e308])


def test_a_large_flat_curve_keeps_its_ends_and_its_spike():
    values = np.zeros(100_000)
    values[54_321] = 1.0
    kept = lttb(np.arange(100_000), values, 500)
    assert {0, 54_321, 99_999} <= set(kept.tolist())
