"""What readers with a schema often lose silently: the fast ones read it as it stands, or leave it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from unittest import mock

import numpy as np
import polars as pl
import pytest

from headrace.events.batch import ORIGIN, Batch
from headrace.events.formats import json_compiled, json_decode, json_exact
from headrace.events.formats.decoded import Decoded
from headrace.events.formats.json import JsonDecoder
from headrace.events.formats.json_lines import Lines, escaped_quotes, nesting
from headrace.events.formats.json_schema import Schema
from headrace.limits import MAX_EVENT_BYTES
from tests.json_readers import FAST, only_reader

#: What both fast readers have learned before they see a loss.
PLAIN = [f'{{"i":{n},"f":{n}.5,"s":"text {n}","b":true,"o":null}}'.encode() for n in range(40)]
NESTED = [body[:-1] + b',"r":{"x":[1,{"y":"z"}]}}' for body in PLAIN]


@pytest.fixture(autouse=True, params=FAST)
def _fast_reader(request: pytest.FixtureRequest) -> Iterator[None]:
    with only_reader(request.param):
        yield


def decoded_beside(plain: list[bytes], *odd: bytes) -> Decoded:
    """Decode `odd` bodies within a batch of plain ones, by a decoder that has learned the plain ones."""
    decoder = JsonDecoder()
    decoder.decode(plain)
    return decoder.decode([*plain[:7], *odd, *plain[7:]])


def row(batch: Batch, origin: int) -> dict[str, object]:
    """Return what is not NULL in the row of a body."""
    values = batch.frame.filter(pl.col(ORIGIN) == origin).drop(ORIGIN).row(0, named=True)
    return {name: value for name, value in values.items() if value is not None}


LOSSES = {
    "a number in a text column becomes text": (b'{"i":1,"s":1}', {"bigint:i": 1, "bigint:s": 1}),
    "a fraction in a text column loses its zero": (b'{"i":1,"s":1.0}', {"bigint:i": 1, "float:s": 1.0}),
    "a bit in a text column becomes text": (b'{"i":1,"s":true}', {"bigint:i": 1, "bit:s": True}),
    "a record in a text column is written anew": (b'{"s":{"x":1.0}}', {"record:s": '{"x":1.0}'}),
    "an array of one text in a text column": (b'{"s":["x"]}', {"array:s": '["x"]'}),
    "an integer in a float column becomes a float": (b'{"f":7}', {"bigint:f": 7}),
    "an integer above 2^53 is rounded": (b'{"f":9007199254740993}', {"bigint:f": 9007199254740993}),
    "an integer beside a whole float": (
        b'{"i":1,"f":8,"g":2}',
        {"bigint:i": 1, "bigint:f": 8, "bigint:g": 2},
    ),
    "an unknown key vanishes": (b'{"i":1,"new":"x"}', {"bigint:i": 1, "text:new": "x"}),
    "a key in another case vanishes": (b'{"i":1,"I":2}', {"bigint:i": 1, "bigint:I": 2}),
    "an unknown key with space before its colon": (b'{"i":1,"new" :"x"}', {"bigint:i": 1, "text:new": "x"}),
}

REFUSED = {
    "the second of two equal keys vanishes": (b'{"i":1,"i":2}', "duplicate key 'i'"),
    "the second of two equal keys is null": (b'{"i":1,"i":null}', "duplicate key 'i'"),
    "the first of two equal keys is null": (b'{"i":null,"i":1}', "duplicate key 'i'"),
    "both of two equal keys are null": (b'{"o":null,"o":null}', "duplicate key 'o'"),
    "an unknown key is twice null": (b'{"new":null,"new":null}', "duplicate key 'new'"),
    "equal keys, one written with an escape": (b'{"i":1,"\\u0069":2}', "duplicate key 'i'"),
    "equal keys, the null one written with an escape": (b'{"i":1,"\\u0069":null}', "duplicate key 'i'"),
    "half a surrogate pair becomes NUL": (b'{"s":"\\ud800"}', "half a surrogate pair, \\ud800 at byte 6"),
    "the same in the middle of text": (b'{"s":"ab\\ud800cd"}', "half a surrogate pair, \\ud800 at byte 8"),
    "an integer in a float column is out of range": (
        b'{"f":9223372036854775808}',
        "number out of bigint range in 'f'",
    ),
}


@pytest.mark.parametrize(("body", "cells"), LOSSES.values(), ids=list(LOSSES))
def test_what_a_reader_with_a_schema_would_change_is_read_as_it_stands(
    body: bytes, cells: dict[str, object]
) -> None:
    decoded = decoded_beside(PLAIN, body)
    assert row(decoded.batch, 7) == cells
    assert decoded.batch.height == len(PLAIN) + 1
    assert decoded.rejects == ()


@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_what_a_schema_would_drop_is_refused(body: bytes, reason: str) -> None:
    decoded = decoded_beside(PLAIN, body)
    assert [(reject.origin, reject.reason) for reject in decoded.rejects] == [(7, reason)]
    assert decoded.batch.height == len(PLAIN)


@pytest.mark.parametrize(
    "body", [b'{"i":1,"i":2}', b'{"i":1,"i":null}', b'{"r":{},"r":{"i":1}}', b'{"o":null,"o":null}']
)
def test_a_key_given_twice_is_refused_beside_records_too(body: bytes) -> None:
    """Structs keep the last of equal keys; records bring keys of their own."""
    decoded = decoded_beside(NESTED, body)
    assert [reject.origin for reject in decoded.rejects] == [7]


def test_losses_that_balance_each_other_are_seen() -> None:
    """An unknown text vanishes and a number turns into text: there are as many texts as before."""
    decoded = decoded_beside(
        PLAIN, b'{"new":"x"}', b'{"s":5}', b'{"s":["x","y"]}', b'{"s":false}', b'{"s":{}}'
    )
    assert [row(decoded.batch, origin) for origin in range(7, 12)] == [
        {"text:new": "x"},
        {"bigint:s": 5},
        {"array:s": '["x","y"]'},
        {"bit:s": False},
        {"record:s": "{}"},
    ]


def test_a_key_hidden_by_white_space_does_not_balance_one_that_vanishes() -> None:
    decoded = decoded_beside(PLAIN, b'{"s" :"seen"}', b'{"new":"x"}')
    assert row(decoded.batch, 7) == {"text:s": "seen"}
    assert row(decoded.batch, 8) == {"text:new": "x"}


def test_a_text_that_begins_with_a_colon_does_not_hide_a_loss() -> None:
    """Its opening quote looks like the end of a key, and so makes up for keys that white space hides."""
    plain = [b'{"i":%d,"s":"x","t":"y"}' % n for n in range(40)]
    decoded = decoded_beside(plain, b'{"s":":","t":5,"i" :5,"u" :6}', b'{"s":":","i" :1,"i" :2}')
    assert row(decoded.batch, 7) == {"text:s": ":", "bigint:t": 5, "bigint:i": 5, "bigint:u": 6}
    assert [(reject.origin, reject.reason) for reject in decoded.rejects] == [(8, "duplicate key 'i'")]
    assert [reject.origin for reject in decoded_beside(NESTED, b'{"s":":","i" :1,"i" :2}').rejects] == [7]


def test_strings_in_arrays_do_not_make_up_for_numbers_that_turn_into_text() -> None:
    decoded = decoded_beside(PLAIN, b'{"s":["x","y"]}', b'{"s":5}', b'{"s":{"o":null}}')
    assert [row(decoded.batch, origin) for origin in (7, 8, 9)] == [
        {"array:s": '["x","y"]'}, {"bigint:s": 5}, {"record:s": '{"o":null}'},
    ]  # fmt: skip


def test_nulls_in_an_unknown_array_do_not_make_up_for_an_unknown_key() -> None:
    decoded = decoded_beside(PLAIN, b'{"new":[null,null]}', b'{"new":1}')
    assert [row(decoded.batch, origin) for origin in (7, 8)] == [
        {"array:new": "[null,null]"}, {"bigint:new": 1},
    ]  # fmt: skip


def test_a_number_behind_much_white_space_is_read_as_it_stands() -> None:
    bodies = [b'{"f":%s%s}' % (b" " * gap, number) for gap in range(20) for number in (b"1", b"1.0")]
    batch = decoded_beside(PLAIN, *bodies).batch
    cells = [row(batch, 7 + n) for n in range(len(bodies))]
    assert cells == [{"bigint:f": 1}, {"float:f": 1.0}] * 20


def test_points_of_unknown_keys_do_not_make_up_for_integers() -> None:
    decoded = decoded_beside(PLAIN, b'{"f":7}', b'{"new":1.5}', b'{"f":2.0}')
    assert [row(decoded.batch, origin) for origin in (7, 8, 9)] == [
        {"bigint:f": 7}, {"float:new": 1.5}, {"float:f": 2.0},
    ]  # fmt: skip


#: Lines that are no object, or not one.
NO_OBJECT = [
    b"[]", b'[{"i":1}]', b"null", b"5", b'"{}"', b"true", b'{"i":1}{"i":2}', b'{"i":1} {"i":2}', b'{"i":1},',
    b'{"i":1}x', b'x{"i":1}', b'\xef\xbb\xbf{"i":1}', b'{"i":1}\x00', b"\x0b", b"\xa0", b'{"i":1', b"{}{}",
    b'{"i":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("line", NO_OBJECT, ids=lambda line: repr(line[:20]))
def test_a_line_that_is_not_one_object_is_left_wherever_it_stands(line: bytes) -> None:
    schema = Schema().learn(pl.DataFrame({"bigint:i": [1]}), ["s"])
    plain = [b'{"i":%d}' % n for n in range(3)]
    for lines in ([line], [*plain, line], [line, *plain], [*plain, line, *plain]):
        reading = json_decode._read_fast(Lines.of(lines), schema)
        assert reading is None or reading.left.tolist() == [lines.index(line)]


@pytest.mark.parametrize("line", [b"", b" ", b"\t\r "])
def test_a_blank_line_is_no_row(line: bytes) -> None:
    assert [reject.origin for reject in decoded_beside(PLAIN, line).rejects] == [7]


def test_bodies_that_are_not_a_line_each_are_told_apart_after_plain_ones() -> None:
    decoder = JsonDecoder()
    decoder.decode(PLAIN)
    decoded = decoder.decode([*PLAIN, b'{"i":1}\n{"i":2}', b"", b'{"i":3}'])
    assert decoded.batch.frame[ORIGIN].to_list()[-3:] == [40, 40, 42]
    assert [reject.origin for reject in decoded.rejects] == [41]


def test_the_limits_of_an_event_hold() -> None:
    decoder = JsonDecoder()
    decoder.decode(PLAIN)
    deep = b'{"i":1,"s":' + b"[" * 200 + b"]" * 200 + b"}"
    long = b'{"i":1,"s":"' + b"x" * MAX_EVENT_BYTES + b'"}'
    decoded = decoder.decode([*PLAIN, deep, long, *PLAIN])
    assert [reject.origin for reject in decoded.rejects] == [40, 41]
    assert decoded.batch.height == 2 * len(PLAIN)


def test_plain_lines_are_not_looked_at_one_by_one() -> None:
    decoder = JsonDecoder()
    expected = decoder.decode(PLAIN).batch
    with mock.patch.object(json_decode, "unpack", side_effect=AssertionError):
        for separators in ((",", ":"), (", ", ": "), (" , ", " : ")):
            spaced = [json.dumps(json.loads(line), separators=separators).encode() for line in PLAIN]
            decoded = decoder.decode(spaced, b"\n".join(spaced))
            assert decoded.batch.frame.equals(expected.frame)


def test_text_that_looks_like_keys_and_nulls_is_text() -> None:
    tricky = [
        rb'{"s":"\":null, \"i\":1"}',
        rb'{"s":"\\\\\":null"}',
        rb'{"s":"{\"a\":[1]}"}',
        rb'{"s":"x\\"}',
        rb'{"s":"\\\""}',
    ]
    decoded = decoded_beside(PLAIN, *tricky)
    assert [row(decoded.batch, 7 + n)["text:s"] for n in range(5)] == [
        '":null, "i":1', '\\\\":null', '{"a":[1]}', "x\\", '\\"',
    ]  # fmt: skip


def test_whole_pairs_of_surrogates_are_read() -> None:
    decoded = decoded_beside(PLAIN, rb'{"s":"\ud83d\ude00"}', rb'{"s":"\\ud800 is a path"}')
    assert [row(decoded.batch, origin)["text:s"] for origin in (7, 8)] == ["😀", "\\ud800 is a path"]


def test_integers_and_floats_in_one_column_keep_their_types() -> None:
    bodies = [b'{"x":%d,"y":1.0}' % n if n % 3 else b'{"x":%d.0,"y":1.0}' % n for n in range(60)]
    batch = decoded_beside(bodies).batch
    assert batch.frame["bigint:x"].to_list() == [n if n % 3 else None for n in range(60)]
    assert batch.frame["float:x"].to_list() == [None if n % 3 else float(n) for n in range(60)]
    assert "bigint:y" not in batch.frame.columns


def test_a_line_with_whole_numbers_of_both_kinds_goes_to_an_exact_reader() -> None:
    bodies = [b'{"x":0.5,"y":0.5}'] * 30 + [b'{"x":1,"y":2.0}', b'{"x":1.0,"y":2}', b'{"x":-0,"y":-0.0}']
    batch = decoded_beside(bodies).batch
    assert [row(batch, origin) for origin in (30, 31, 32)] == [
        {"bigint:x": 1, "float:y": 2.0},
        {"float:x": 1.0, "bigint:y": 2},
        {"bigint:x": 0, "float:y": -0.0},
    ]


@pytest.mark.parametrize("run", range(1, 12))
def test_a_quote_is_escaped_by_an_odd_number_of_backslashes(run: int) -> None:
    buffer = np.frombuffer(b'{"' + b"\\" * run + b'" "}', np.uint8)
    assert escaped_quotes(buffer).tolist() == ([2 + run] if run % 2 else [])


def test_nesting_is_counted_without_recursion_and_outside_strings() -> None:
    assert nesting(b"[" * 100_000) == 100_000
    assert nesting(b'{"a":[[]],"b":"[[[[[","c\\"[[":{}}') == 3


@pytest.mark.parametrize("times", range(1, 6))
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_that_is_nothing_in_64_bits_is_not_read_as_nothing(times: int, sign: str) -> None:
    digits = f"{sign}{times * 2**64}"
    odd = [f'{{"i":1,"f":{digits}{end}}}'.encode() for end in (".0", "e0", ".000e-3", "0.0")]
    decoded = decoded_beside(PLAIN, b'{"i":%s}' % digits.encode(), *odd)
    assert [reject.reason for reject in decoded.rejects] == ["number out of bigint range in 'i'"]
    for origin, body in enumerate(odd, 8):
        assert row(decoded.batch, origin) == {"bigint:i": 1, "float:f": json.loads(body)["f"]}


def test_bad_lines_take_no_place_from_the_columns_of_good_ones() -> None:
    names = [f"k{number}" for number in range(30)]
    plain = [json.dumps(dict.fromkeys(names, 1)).encode()] * 1_000
    bad = b"{" + b",".join(b'"%s":"x"' % name.encode() for name in names) + b",}"
    changed = [json.dumps({"k0": True}).encode()]
    limit = {"MAX_BATCH_CELLS": 61_000}
    with mock.patch.multiple(json_compiled, **limit), mock.patch.multiple(json_exact, **limit):
        decoded = decoded_beside(plain, bad, *changed)
    assert [reject.origin for reject in decoded.rejects] == [7]
    assert row(decoded.batch, 8) == {"bit:k0": True}
    assert decoded.batch.height == 1_001
