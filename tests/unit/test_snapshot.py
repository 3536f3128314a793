"""The codec of states: all that a state may hold comes back, and nothing else is written or read."""

import math
import zlib
from decimal import Decimal

import msgspec
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import dataframes

from headrace.engine.snapshot import decode, encode
from headrace.errors import Fatal, UserError
from headrace.events.batch import Batch
from headrace.events.formats.json import from_rows

TEXTS = st.text(st.characters(codec="utf-8"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def same(left, right):
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    return left == right


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
@settings(max_examples=300, deadline=None)
def test_plain_values_come_back_with_their_types(state):
    assert same(decode(encode(state)), state)


@given(dataframes(max_cols=5, max_size=20, allow_infinity=True, allow_null=True))
@settings(max_examples=150, deadline=None)
def test_frames_of_any_type_come_back(frame):
    back = decode(encode({"frame": frame}))["frame"]
    assert back.schema == frame.schema
    assert_frame_equal(back, frame)


def test_lists_structs_and_wide_integers_come_back():
    frame = pl.DataFrame(
        {
            "sum": pl.Series([2**100, None, -(2**90)], dtype=pl.Int128),
            "list": [[1, None], [], None],
            "records": [[{"v": 1.5, "t": "a"}], None, []],
            "struct": [{"a": {"b": [1]}}, None, {"a": None}],
            "exact": pl.Series([Decimal("1.50"), None, None], dtype=pl.Decimal(38, 2)),
            "null": pl.Series([None] * 3, dtype=pl.Null),
        }
    )
    back = decode(encode({"frame": frame}))["frame"]
    assert back.schema == frame.schema
    assert back.equals(frame)


def test_a_frame_without_columns_keeps_its_height_and_an_empty_one_its_columns():
    state = {"rows": pl.DataFrame(height=5), "none": pl.DataFrame(schema={"a": pl.Int128})}
    back = decode(encode(state))
    assert back["rows"].shape == (5, 0)
    assert back["none"].schema == state["none"].schema


def test_a_batch_comes_back_with_its_columns():
    batch = from_rows([{"a": 1, "r": {"x": [1]}}, {"a": "x", "A": 2.5}, {}])
    back = decode(encode({"inner": [{"waiting": batch}]}))["inner"][0]["waiting"]
    assert isinstance(back, Batch)
    assert back.columns == batch.columns
    assert back.frame.equals(batch.frame)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1, 2}, "state.groups[1] is a set, which cannot be saved"),
        (b"x", "state.groups[1] is a bytes, which"),
        ({3: "x"}, "state.groups[1] has the key 3, which is no text"),
        (pl.Series([1]), "state.groups[1] is a Series"),
        ("\ud800", "state.groups[1] is a text that is no Unicode"),
        (pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}), "has the column 'o' of Python objects"),
    ],
)
def test_what_no_state_may_hold_is_refused_with_its_place(value, said):
    with pytest.raises(UserError) as error:
        encode({"groups": [1, value]})
    assert said in str(error.value)


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(UserError, match="nested deeper than 128"):
        encode({"value": value})


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_byte_is_found(data):
    encoded = bytearray(encode({"n": 1, "frame": pl.DataFrame({"a": [1, 2, 3]})}))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Fatal, match="the saved state"):
        decode(bytes(encoded))


@pytest.mark.parametrize("length", [0, 3, 8, 9, 20])
def test_cut_bytes_are_found(length):
    with pytest.raises(Fatal, match="is damaged"):
        decode(encode({"n": list(range(50))})[:length])


@pytest.mark.parametrize(
    "plain",
    [
        [["mapping", {"f": ["frame", 0]}], []],
        [["mapping", {"f": ["frame", 0]}], [b"nonsense"]],
        [["mapping", {"f": ["batch", 0, 3]}], [b""]],
        [["mapping", {"f": ["other"]}], []],
        [["mapping", {"f": []}], []],
        [["list", 1], []],
        7,
    ],
)
def test_what_has_a_checksum_and_still_is_no_state_is_damaged(plain):
    packed = zstandard.compress(msgspec.msgpack.encode(plain))
    with pytest.raises(Fatal, match="is damaged"):
        decode(b"HRST\x01" + zlib.crc32(packed).to_bytes(4, "big") + packed)


def test_another_version_is_named():
    encoded = bytearray(encode({}))
    encoded[4] = 9
    with pytest.raises(Fatal, match=r"format 9.* reads 1"):
        decode(bytes(encoded))
