"""Bodies to batches: layouts of bodies, types, order, rejects, and limits."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import polars as pl
import pytest

from headrace.errors import DataError
from headrace.events.batch import ORIGIN, Column, ValueType
from headrace.events.formats import json_decode, json_exact
from headrace.events.formats.decoded import Decoded
from headrace.events.formats.json import JsonDecoder, encode_rows, rows
from headrace.limits import MAX_EVENT_BYTES, MAX_EVENT_KEYS
from tests.json_readers import FAST, READERS, only_reader

ABSTRACTS = Path(__file__).parents[3] / "shared" / "data" / "arxiv_public.parquet"


def decode(*bodies: bytes) -> dict[str, list[object]]:
    """Return the columns of bodies that are all good."""
    decoded = JsonDecoder().decode(bodies)
    assert decoded.rejects == ()
    return decoded.batch.frame.to_dict(as_series=False)


def reason(body: bytes) -> str:
    """Return why a body is refused, between two neighbours that are not."""
    decoded = JsonDecoder().decode([b'{"a":1}', body, b'{"a":2}'])
    assert decoded.batch.frame.to_dict(as_series=False) == {ORIGIN: [0, 2], "bigint:a": [1, 2]}
    assert [reject.origin for reject in decoded.rejects] == [1]
    return decoded.rejects[0].reason


def same(decoded: Decoded, other: Decoded) -> bool:
    """Whether two batches have the same rows, columns and rejects."""
    frames = decoded.batch.frame.equals(other.batch.frame)
    return frames and decoded.batch.columns == other.batch.columns and decoded.rejects == other.rejects


def test_each_json_type_has_its_plane() -> None:
    body = b'{"i":-5,"f":1.0,"e":1e3,"s":"1","t":true,"n":null,"r":{"x" : 1.0},"a":[1, 2]}'
    assert decode(body) == {
        ORIGIN: [0], "bigint:i": [-5], "float:f": [1.0], "float:e": [1000.0], "text:s": ["1"],
        "bit:t": [True], "record:r": ['{"x" : 1.0}'], "array:a": ["[1, 2]"],
    }  # fmt: skip


def test_a_column_of_several_types_has_a_plane_for_each_in_the_order_of_types() -> None:
    decoded = JsonDecoder().decode(
        [b'{"x":"a"}', b'{"x":[]}', b'{"x":1}', b'{"x":true}', b'{"x":2.5}', b'{"x":{}}']
    )
    types = [
        ValueType.BIT,
        ValueType.BIGINT,
        ValueType.FLOAT,
        ValueType.TEXT,
        ValueType.RECORD,
        ValueType.ARRAY,
    ]
    assert decoded.batch.columns == (Column("x", tuple(types)),)
    assert [row["x"] for row in rows(decoded.batch)] == ["a", [], 1, True, 2.5, {}]


def test_columns_stand_where_the_data_first_give_them_a_value() -> None:
    batch = JsonDecoder().decode([b'{"b":1,"c":null,"a":2}', b'{"d":1,"c":1,"a":3}']).batch
    assert [column.name for column in batch.columns] == ["b", "a", "d", "c"]
    assert not any(column.open for column in batch.columns)


def test_keys_that_differ_in_case_are_columns_of_their_own() -> None:
    assert decode(b'{"a":1,"A":2}') == {ORIGIN: [0], "bigint:a": [1], "bigint:A": [2]}


LAYOUTS = {
    "one object": b'{"a":1}',
    "an array": b'[{"a":1}]',
    "lines": b'{"a":1}\n',
    "white space around": b' \t\r\n{"a":1}\r\n',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "pretty": b'{\n  "a": 1\n}\n',
    "a string that .NET serialised": b"@\x06string\x083http://schemas.microsoft.com/2003/10/Serialization/\x9a\x07"
    b'{"a":1}\x01',
    "one whose length is a brace": b"@\x06string\x083http://schemas.microsoft.com/2003/10/Serialization/\x99{"
    b'{"a":1}\x01',
}


@pytest.mark.parametrize("body", LAYOUTS.values(), ids=list(LAYOUTS))
def test_an_event_comes_in_several_layouts(body: bytes) -> None:
    assert decode(body) == {ORIGIN: [0], "bigint:a": [1]}


SEVERAL = {
    "an array": b'[{"a":1}, {"a":2},{"a":3}]',
    "lines": b'{"a":1}\n{"a":2}\r\n\n{"a":3}\n',
    "pretty lines": b'{\n"a":1\n}\n{\n"a":2}\n{"a":3\n}',
    "a pretty array": b'[\n  {"a":1},\n  {"a":\n2},{"a":3}\n]',
}


@pytest.mark.parametrize("body", SEVERAL.values(), ids=list(SEVERAL))
def test_a_body_holds_several_events_with_its_own_origin(body: bytes) -> None:
    assert decode(b'{"a":0}', body, b'{"a":4}') == {ORIGIN: [0, 1, 1, 1, 2], "bigint:a": [0, 1, 2, 3, 4]}


def test_an_empty_array_is_no_events_and_no_reject() -> None:
    assert decode(b"[]") == {ORIGIN: []}
    assert decode() == {ORIGIN: []}


def test_a_bad_event_refuses_its_whole_body_and_no_other() -> None:
    decoded = JsonDecoder().decode(
        [b'[{"a":1},{"a":1,"a":2},{"z":3}]', b'{"a":4}', b'{"a":5}\n{"a":', b'{"a":6}']
    )
    assert decoded.batch.frame.to_dict(as_series=False) == {ORIGIN: [1, 3], "bigint:a": [4, 6]}
    assert [reject.origin for reject in decoded.rejects] == [0, 2]
    assert [column.name for column in decoded.batch.columns] == ["a"]


def test_an_object_without_keys_is_a_row_without_values() -> None:
    assert decode(b"{}", b'{"a":1}', b'{"a":null}') == {ORIGIN: [0, 1, 2], "bigint:a": [None, 1, None]}


HOSTILE = {
    b"": "empty body",
    b" \n ": "empty: no bytes but white space",
    b"\xef\xbb\xbf": "empty: no bytes but white space",
    b"x": "not JSON: invalid character at byte 0",
    b"null": "not an event",
    b'"text"': "not an event",
    b"12": "not an event",
    b"[1]": "element 0 of the array is not an object",
    b'[{"a":1},[]]': "element 1 of the array is not an object",
    b'[{"a":1}': "not JSON: it ends inside a value",
    b'[{"a":1},]': "not JSON: trailing comma in array at byte 9",
    b"{": "not JSON: it ends inside a value",
    b'{"a":': "not JSON: it ends inside a value",
    b'{"a":1,}': "not JSON: trailing comma in object at byte 7",
    b'{"a":1}}': "not JSON: trailing characters at byte 7",
    b'{"a":1}{"a":2}': "not JSON: trailing characters at byte 7",
    b'{"a":1} {"a":2}': "not JSON: trailing characters at byte 8",
    b'{"a":1},{"a":2}': "not JSON: trailing characters at byte 7",
    b'{"a":1}x': "not JSON: trailing characters at byte 7",
    b'{"a":1}\x00': "not JSON: trailing characters at byte 7",
    b'x{"a":1}': "not JSON: invalid character at byte 0",
    b"{'a':1}": "not JSON",
    b"{a:1}": "not JSON",
    b'{"a" 1}': "not JSON",
    b'{"a":1 "b":2}': "not JSON",
    b'{"a":1,,"b":2}': "not JSON",
    b'{"a":}': "not JSON",
    b'{"a"}': "not JSON",
    b"{1:2}": "not JSON",
    b'{"a":NaN}': "not JSON: invalid character at byte 5",
    b'{"a":Infinity}': "not JSON",
    b'{"a":-Infinity}': "not JSON",
    b'{"a":nul}': "not JSON",
    b'{"a":True}': "not JSON",
    b'{"a":undefined}': "not JSON",
    b'{"a":01}': "not JSON: invalid number",
    b'{"a":-01}': "not JSON: invalid number",
    b'{"a":+1}': "not JSON",
    b'{"a":.5}': "not JSON",
    b'{"a":1.}': "not JSON: invalid number",
    b'{"a":1e}': "not JSON: invalid number",
    b'{"a":0x10}': "not JSON",
    b'{"a":1_000}': "not JSON",
    b'{"a":--1}': "not JSON",
    b'{"a":-}': "not JSON",
    b'{"a":9223372036854775808}': "number out of bigint range in 'a'",
    b'{"a":-9223372036854775809}': "number out of bigint range in 'a'",
    b'{"a":1' + b"0" * 5000 + b"}": "number out of bigint range in 'a'",
    b'{"a":1e400}': "number out of float range in 'a'",
    b'{"a":-1e400}': "number out of float range in 'a'",
    b'{"a":"\\q"}': "not JSON: invalid escaped character",
    b'{"a":"\\u12G4"}': "not JSON",
    b'{"a":"\\u12"}': "not JSON",
    b'{"a":"\x01"}': "not JSON: invalid character at byte 6",
    b'{"a":"\t"}': "not JSON: invalid character at byte 6",
    b'{"a":"\n"}': "not JSON: invalid character at byte 6",
    b'{"a":"x}': "not JSON: it ends inside a value",
    b'{"a":\x0b1}': "not JSON: invalid character at byte 5",
    b'{"a":\xa01}': "not UTF-8: byte 0xa0 at byte 5",
    b'{"a":"\xff"}': "not UTF-8: byte 0xff at byte 6",
    b'{"a":"\xc0\x80"}': "not UTF-8: byte 0xc0 at byte 6",
    b'{"a":"\xed\xa0\x80"}': "not UTF-8: byte 0xed at byte 6",
    b'{"a":{"b":"\xff"}}': "not UTF-8: byte 0xff at byte 11",
    b'{"\xff":1}': "not UTF-8: byte 0xff at byte 2",
    '{"a":1}'.encode("utf-16"): "not UTF-8: byte 0xff at byte 0",
    b'{"a":"\\ud800"}': "half a surrogate pair, \\ud800 at byte 6",
    b'{"a":"\\ud83d\\ude00 \\udc00!"}': "half a surrogate pair, \\udc00 at byte 19",
    b'{"a":"\\ud800\\u0041"}': "half a surrogate pair, \\ud800 at byte 6",
    b'{"a":{"b":["\\ud800"]}}': "half a surrogate pair, \\ud800 at byte 12",
    b'{"\\ud800":1}': "half a surrogate pair, \\ud800 at byte 2",
    b'{"a":1,"a":1}': "duplicate key 'a'",
    b'{"a":null,"b":2,"a":null}': "duplicate key 'a'",
    b'{"a":1,"\\u0061":1}': "duplicate key 'a'",
    b'{"":1,"":2}': "duplicate key ''",
    b'{"a":[1,]}': "not JSON: trailing comma in array",
    b'{"a":[1 2]}': "not JSON",
    b'{"a":{"b":tru}}': "not JSON",
    b'{"a":[1}': "not JSON",
    b'{"a":1//c\n}': "not JSON",
    b'{"a":/**/1}': "not JSON",
    b'{"a":' + b"[" * 100_000: "nested deeper than 128",
    b"[" * 100_000: "nested deeper than 128",
    b'{"a":' * 100_000: "nested deeper than 128",
    b'{"a":' + b"[" * 128 + b"]" * 128 + b"}": "nested deeper than 128",
    b'{"a":"' + b"x" * MAX_EVENT_BYTES + b'"}': f"larger than {MAX_EVENT_BYTES} bytes",
}


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:30]))
def test_a_hostile_body_is_refused_with_a_reason_and_harms_no_neighbour(body: bytes) -> None:
    assert reason(body).startswith(HOSTILE[body])


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_the_same_bodies_for_the_same_reasons(reader: str) -> None:
    good = [f'{{"a":{n}}}'.encode() for n in range(50)]
    bodies = [body for body in HOSTILE if len(body) < MAX_EVENT_BYTES]
    with only_reader(reader):
        decoder = JsonDecoder()
        decoder.decode(good)
        for body in bodies:
            decoded = decoder.decode([*good, body, *good])
            assert [reject.origin for reject in decoded.rejects] == [50], body[:50]
            assert decoded.rejects[0].reason.startswith(HOSTILE[body]), body[:50]
            assert decoded.batch.height == 100


def test_deep_nesting_is_refused_in_milliseconds() -> None:
    body = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    start = time.perf_counter()
    assert reason(body) == "nested deeper than 128"
    assert time.perf_counter() - start < 0.5


def test_nesting_up_to_the_limit_is_read() -> None:
    text = b"[" * 127 + b"]" * 127
    assert decode(b'{"a":' + text + b"}")["array:a"] == [text.decode()]
    assert decode(b'[{"a":' + text + b"}]")["array:a"] == [text.decode()]


def test_braces_in_text_are_not_nesting() -> None:
    assert decode(b'{"a":"' + b"{[" * 200 + b'"}') == {ORIGIN: [0], "text:a": ["{[" * 200]}


def test_many_backslashes_cost_no_more_than_other_bytes() -> None:
    body = b'{"a":"' + b"\\" * 1_000_000 + b'"}'
    start = time.perf_counter()
    assert len(decode(*[body] * 3)["text:a"][0]) == 500_000  # type: ignore[arg-type]
    assert time.perf_counter() - start < 2


EXACT = {
    b'{"a":"\\u0000"}': {"text:a": ["\x00"]},
    b'{"a":"\\ud83d\\ude00"}': {"text:a": ["😀"]},
    b'{"a":"\x7f\xe2\x80\xa8"}': {"text:a": ["\x7f\u2028"]},
    b'{"a":"\\/\\b\\f\\n\\r\\t"}': {"text:a": ["/\b\f\n\r\t"]},
    b'{"a":-0}': {"bigint:a": [0]},
    b'{"a":-0.0}': {"float:a": [-0.0]},
    b'{"a":1e-400}': {"float:a": [0.0]},
    b'{"a":5e-324}': {"float:a": [5e-324]},
    b'{"a":1.7976931348623157e308}': {"float:a": [1.7976931348623157e308]},
    b'{"a":0.1000000000000000055511151231257827}': {"float:a": [0.1]},
    b'{"a":9223372036854775807}': {"bigint:a": [2**63 - 1]},
    b'{"a":-9223372036854775808}': {"bigint:a": [-(2**63)]},
    b'{"a":{"b":1e400,"c":123456789012345678901234567890}}': {
        "record:a": ['{"b":1e400,"c":123456789012345678901234567890}']
    },
    b'{"a":{"b":1,"b":2}}': {"record:a": ['{"b":1,"b":2}']},
    b'{"\\u0061":1}': {"bigint:a": [1]},
    b'{"\\"":1}': {'bigint:"': [1]},
    b'{"a:b":1}': {"bigint:a:b": [1]},
}


@pytest.mark.parametrize("body", EXACT, ids=lambda body: repr(body[:30]))
@pytest.mark.parametrize("count", [1, 40, 2000])
def test_odd_but_good_values_are_kept_exactly(body: bytes, count: int) -> None:
    expected = {ORIGIN: list(range(count)), **{name: values * count for name, values in EXACT[body].items()}}
    assert repr(decode(*[body] * count)) == repr(expected)


def test_empty_bodies_alone_are_refused() -> None:
    assert [reject.reason for reject in JsonDecoder().decode([b""]).rejects] == ["empty body"]
    assert [reject.origin for reject in JsonDecoder().decode([b'{"a":1}', b"", b""]).rejects] == [1, 2]


def test_given_joined_bytes_are_those_of_the_bodies() -> None:
    bodies = [f'{{"a":{n}}}'.encode() for n in range(3000)]
    assert same(JsonDecoder().decode(bodies, b"\n".join(bodies)), JsonDecoder().decode(bodies))


def test_what_a_decoder_has_learned_changes_nothing() -> None:
    random_ = random.Random(5)
    sources = [
        [json.dumps({"id": n, "t": n / 2, "name": f"n{n}"}).encode() for n in range(2000)],
        [json.dumps({"name": n, "id": str(n), "more": {"x": [n]}}).encode() for n in range(2000)],
        [json.dumps({f"k{random_.randrange(50)}": n}).encode() for n in range(300)],
        [json.dumps({"t": None, "id": None}).encode() for n in range(2000)],
    ]
    worn = JsonDecoder()
    for number in range(12):
        source = sources[number % len(sources)]
        assert same(worn.decode(source), JsonDecoder().decode(source))


def test_a_batch_with_a_new_schema_is_not_read_line_by_line() -> None:
    """The lines that the fast readers leave teach them: a sample is read exactly, the rest fast again."""
    decoder = JsonDecoder()
    decoder.decode([b'{"a":%d}' % n for n in range(2000)])
    read = []

    def counting(texts: Iterable[tuple[int, bytes]]) -> tuple[json_exact.Cells, dict[int, str]]:
        texts = list(texts)
        read.append(len(texts))
        return json_exact.read_exact(texts)

    with mock.patch.object(json_decode, "read_exact", counting):
        decoded = decoder.decode([b'{"other":"%d","nested":{"n":%d}}' % (n, n) for n in range(2000)])
    assert decoded.batch.height == 2000
    assert sum(read) < 100


@pytest.mark.parametrize("reader", FAST)
def test_types_that_change_are_no_work_for_the_exact_reader(reader: str) -> None:
    texts = ["1", "1.5", '"x"', "true", "null"] + ["{}", "[1]"] * (reader == "compiled")
    mixed = [f'{{"a":{texts[n % len(texts)]}}}'.encode() for n in range(2000)]
    with only_reader(reader):
        decoder = JsonDecoder()
        decoder.decode(mixed)
        with mock.patch.object(json_decode, "read_exact", wraps=json_exact.read_exact) as exact:
            assert decoder.decode(mixed).batch.height == 2000
        assert list(exact.call_args.args[0]) == []


def test_an_event_with_too_many_keys_is_refused() -> None:
    body = ("{" + ",".join(f'"k{n}":1' for n in range(MAX_EVENT_KEYS + 1)) + "}").encode()
    assert reason(body) == "more than 10000 keys"


def test_data_that_name_ever_new_columns_get_a_clear_error() -> None:
    bodies = [b'{"k%d":1}' % n for n in range(300)]
    with (
        mock.patch.object(json_exact, "MAX_BATCH_CELLS", 200_000),
        pytest.raises(DataError, match="different keys"),
    ):
        JsonDecoder().decode(bodies)


@pytest.mark.skipif(not ABSTRACTS.exists(), reason="the public abstracts are not here")
def test_every_abstract_comes_back_to_the_byte() -> None:
    papers = pl.read_parquet(ABSTRACTS, columns=["doc", "title", "class", "id"])
    bodies = [
        json.dumps(paper, ensure_ascii=bool(n % 2)).encode() for n, paper in enumerate(papers.to_dicts())
    ]
    decoded = JsonDecoder().decode(bodies)
    assert decoded.rejects == ()
    for name in papers.columns:
        assert decoded.batch.frame[f"text:{name}"].to_list() == papers[name].to_list()
    again = JsonDecoder().decode([text.encode() for text in encode_rows(decoded.batch)])
    assert same(again, decoded)
