"""The JSON format against an oracle, over generated events, layouts, batch cuts and every reader."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.events.batch import HIDDEN, ORIGIN, Batch, ValueType, concat
from headrace.events.formats.json import JsonDecoder, encode_block, encode_lines, encode_rows, from_rows, rows
from tests.json_readers import FAST, READERS, only_reader

Pair = tuple[str, str]
Cells = dict[str, tuple[ValueType, Any]]


# --- events, as pairs of the JSON texts of key and value

TRICKY = st.sampled_from(
    [
        '":',
        '":null',
        '": null',
        "\\",
        '\\"',
        '{"a":1}',
        "[",
        "{",
        "é",
        "\u2028",
        "😀",
        "\x00",
        "\n",
        " :",
        '" :1',
        "NaN",
    ]
)
TEXTS = st.lists(TRICKY | st.text(max_size=4), max_size=3).map("".join)
STRINGS = st.builds(lambda text, ascii_: json.dumps(text, ensure_ascii=ascii_), TEXTS, st.booleans())
INTEGERS = st.sampled_from(["0", "-0", "1", "9007199254740993", str(2**63 - 1), str(-(2**63))]) | st.integers(
    -(10**6), 10**6
).map(str)
WHOLE_FLOATS = st.sampled_from(["0.0", "-0.0", "1.0", "1e3", "2E+5", "1e300", "123456789012345678901234.0"])
FLOATS = WHOLE_FLOATS | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda value: json.dumps(float(value))
)
BITS = st.sampled_from(["true", "false"])
OUT_OF_RANGE = st.sampled_from([str(2**63), str(-(2**63) - 1), "1" + "0" * 400, "1e400", "-1e400"])
SPACE = st.sampled_from(["", "", "", "", " ", "  ", "\t", "\r"])
SCALARS = STRINGS | INTEGERS | FLOATS | BITS | st.just("null")


def joined(open_: str, items: Sequence[str], close: str, space: str) -> str:
    return open_ + space + f"{space},".join(items) + space + close


NESTED = st.recursive(
    SCALARS | st.just("1e400"),
    lambda inner: (
        st.builds(joined, st.just("["), st.lists(inner, max_size=3), st.just("]"), SPACE)
        | st.builds(
            joined,
            st.just("{"),
            st.lists(
                st.builds(lambda key, s, value: f'"{key}"{s}:{value}', st.sampled_from("abx"), SPACE, inner),
                max_size=3,
            ),
            st.just("}"),
            SPACE,
        )
    ),
    max_leaves=6,
).filter(lambda text: text[0] in "[{")
RECORDS = NESTED.filter(lambda text: text[0] == "{")
ARRAYS = NESTED.filter(lambda text: text[0] == "[")
ANY = SCALARS | NESTED | OUT_OF_RANGE

KEYS = ['"a"', '"A"', '"b c"', '"é"', '"\\""', '""', '"\\u0061"', '":"', '"@x"', '"long key"']
KINDS = [
    STRINGS,
    INTEGERS,
    FLOATS,
    INTEGERS | FLOATS,
    BITS,
    RECORDS,
    ARRAYS,
    STRINGS | st.just("null"),
    st.just("null"),
]


@st.composite
def events(draw: st.DrawFn) -> list[list[Pair]]:
    """Events that mostly follow one schema, as events of one source do, with exceptions."""
    schema = draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(KINDS), min_size=1, max_size=5))
    found = []
    for _ in range(draw(st.integers(1, 12))):
        pairs = [(key, draw(kind)) for key, kind in schema.items()]
        if draw(st.integers(0, 3)) == 0:
            change = draw(st.sampled_from(["drop", "add", "replace"]))
            at = draw(st.integers(0, len(pairs) - 1))
            if change == "drop":
                del pairs[at]
            elif change == "add":
                pairs.insert(at, (draw(st.sampled_from(KEYS)), draw(ANY)))
            else:
                pairs[at] = (pairs[at][0], draw(ANY))
        found.append(pairs)
    return found


@st.composite
def bodies(draw: st.DrawFn) -> list[tuple[list[Pair], bytes]]:
    """The same with their bytes, in one of several layouts."""
    texts = []
    for pairs in draw(events()):
        colon, comma = draw(
            st.sampled_from([(":", ","), (":", ","), (": ", ", "), (" : ", " ,"), (":\n  ", ",\n")])
        )
        texts.append((pairs, ("{" + comma.join(key + colon + value for key, value in pairs) + "}").encode()))
    return texts


# --- the oracle


def expected(pairs: list[Pair]) -> Cells | None:
    """Return the cells of an event, or None if it must be rejected."""
    cells: Cells = {}
    names = [json.loads(key) for key, _ in pairs]
    if len(set(names)) < len(names):
        return None
    for name, (_, text) in zip(names, pairs, strict=True):
        if text[0] in "{[":
            cells[name] = (ValueType.RECORD if text[0] == "{" else ValueType.ARRAY, text)
            continue
        value = json.loads(text)
        if value is None:
            continue
        kind = {str: ValueType.TEXT, bool: ValueType.BIT, int: ValueType.BIGINT, float: ValueType.FLOAT}[
            type(value)
        ]
        if (kind is ValueType.BIGINT and not -(2**63) <= value < 2**63) or value in (math.inf, -math.inf):
            return None
        cells[name] = (kind, struct.pack("<d", value) if kind is ValueType.FLOAT else value)
    return cells


def cells_by_row(batch: Batch) -> list[Cells]:
    """Return the cells of each row; a value in two planes of a column fails."""
    found: list[Cells] = [{} for _ in range(batch.height)]
    for column in batch.columns:
        for plane in column.planes:
            values = batch.frame[column.physical(plane)].to_list()
            assert any(value is not None for value in values), "a plane without a value"
            for row, value in zip(found, values, strict=True):
                if value is not None:
                    assert column.name not in row
                    row[column.name] = (
                        plane,
                        struct.pack("<d", value) if plane is ValueType.FLOAT else value,
                    )
    return found


@settings(max_examples=120, deadline=None)
@given(bodies(), st.sampled_from(READERS))
@example([([('"a"', "1"), ('"a"', "null")], b'{"a":1,"a":null}')] * 3, READERS[0])
@example(
    [([('"a"', "1")], b'{"a":1}'), ([('"a"', "1.5")], b'{"a":1.5}'), ([('"a"', "1")], b'{"a":1}')], READERS[0]
)
def test_every_reader_gives_what_the_oracle_says(texts: list[tuple[list[Pair], bytes]], reader: str) -> None:
    decoder = JsonDecoder()
    with only_reader(reader):
        for _ in range(2):  # the second time with what the first has taught
            decoded = decoder.decode([body for _, body in texts])
            oracle = {origin: expected(pairs) for origin, (pairs, _) in enumerate(texts)}
            good = [origin for origin, cells in oracle.items() if cells is not None]
            assert [reject.origin for reject in decoded.rejects] == [o for o in oracle if o not in good]
            assert decoded.batch.frame[ORIGIN].to_list() == good
            assert cells_by_row(decoded.batch) == [oracle[origin] for origin in good]
            in_order = dict.fromkeys(name for origin in good for name in oracle[origin] or ())
            assert [column.name for column in decoded.batch.columns] == list(in_order)


@settings(max_examples=60, deadline=None)
@given(bodies(), st.lists(st.integers(0, 12), max_size=4), st.sampled_from(READERS))
def test_cutting_batches_changes_nothing(
    texts: list[tuple[list[Pair], bytes]], cuts: list[int], reader: str
) -> None:
    every = [body for _, body in texts]
    edges = sorted({0, len(every), *(cut for cut in cuts if cut < len(every))})
    decoder = JsonDecoder()
    with only_reader(reader):
        whole = JsonDecoder().decode(every)
        parts = [decoder.decode(every[begin:end]) for begin, end in pairwise(edges)]
    batch = concat([part.batch for part in parts])
    assert [column.name for column in batch.columns] == [column.name for column in whole.batch.columns]
    planes = [frozenset(column.planes) for column in batch.columns]
    assert planes == [frozenset(column.planes) for column in whole.batch.columns]
    assert cells_by_row(batch) == cells_by_row(whole.batch)
    rejected = [
        begin + reject.origin for begin, part in zip(edges, parts, strict=False) for reject in part.rejects
    ]
    assert rejected == [reject.origin for reject in whole.rejects]


# --- lines that are nearly as learned

LEARNED = [b'{"i":%d,"j":%d,"f":%d.5,"s":"x","t":"y","b":true,"o":null}' % (n, n, n) for n in range(24)]
COLONS = [":", ":n", ": n", ":x", " :", "a : b", '\\":', ':\\"', ', \\"u\\" :1']
HELD = {
    "i": st.sampled_from(["0", "7", "-5"]),
    "j": st.sampled_from(["1", "12"]),
    "f": st.sampled_from(["1.5", "2.0", "1e0", "0.25", "1e-3", "1", "7", "-0", "9007199254740993"]),
    "s": st.sampled_from([f'"{text}"' for text in [*COLONS, "", "[", "[x", "1", "null", "\\\\", "é"]]),
    "b": BITS,
    "o": st.just("null"),
}
HELD["t"] = HELD["s"]
LOST = st.sampled_from(["null", "1", "2.0", "1e0", "true", '":"', '"\\ud83d\\ude00"', '"\\ud83d"'])
LOST |= st.sampled_from(["[]", '["x"]', '["x", ":"]', "[null]", "[null,null]"])
LOST |= st.sampled_from(["{}", '{"o":null}', '{"i" :1}', '{"s":":"}'])
GAP = st.sampled_from(["", "", "", "", " ", "\t", "\r", " " * 9])


@st.composite
def nearly_learned(draw: st.DrawFn) -> bytes:
    """A line whose keys and values may balance each other in sums: hidden, unknown, given twice, changed."""
    pairs = []
    for key in draw(st.lists(st.sampled_from(["i", "s", "t", "f", "j", "b", "o", "u"]), max_size=5)):
        odd = key == "u" or draw(st.integers(0, 3)) == 0
        value = draw(LOST if odd else HELD[key])
        name = draw(st.sampled_from([key, key, key, key, f"\\u{ord(key):04x}"]))
        pairs.append(f'{draw(GAP)}"{name}"{draw(GAP)}:{draw(GAP)}{value}')
    return ("{" + ",".join(pairs) + draw(GAP) + "}").encode()


@settings(max_examples=250, deadline=None)
@given(st.lists(nearly_learned(), min_size=1, max_size=4), st.sampled_from(FAST), st.booleans())
@example([b'{"s":":","t":5,"i" :5,"u" :6}'], READERS[0], True)
@example([b'{"s":":","i" :1,"i" :2}'], "structs", True)
@example([b'{"s":["x","y"]}', b'{"s":1,"t":2}'], READERS[0], True)
@example([b'{"u":[null,null]}', b'{"u":1}'], READERS[0], True)
def test_fast_readers_agree_with_the_exact_one_on_lines_that_are_not_as_learned(
    lines: list[bytes], reader: str, at_hand: bool
) -> None:
    with only_reader("exact"):
        exact = JsonDecoder().decode(lines)
    decoder = JsonDecoder()
    with only_reader(reader):
        decoder.decode(LEARNED)
        fast = decoder.decode(lines, b"\n".join(lines) if at_hand else None)
    assert fast.rejects == exact.rejects
    assert fast.batch.columns == exact.batch.columns
    assert repr(fast.batch.frame.to_dict(as_series=False)) == repr(exact.batch.frame.to_dict(as_series=False))


@settings(max_examples=70, deadline=None)
@given(bodies())
def test_encoding_and_decoding_again_changes_nothing(texts: list[tuple[list[Pair], bytes]]) -> None:
    batch = JsonDecoder().decode([body for _, body in texts]).batch
    text = encode_lines(batch)
    again = JsonDecoder().decode(text.split(b"\n"), text).batch if batch.height else batch
    flat = [
        {name: (plane, flattened(plane, value)) for name, (plane, value) in row.items()}
        for row in cells_by_row(batch)
    ]
    hidden = [{name: cell for name, cell in row.items() if not name.startswith(HIDDEN)} for row in flat]
    assert cells_by_row(again) == hidden
    assert "\n".join(encode_rows(again)) == "\n".join(encode_rows(batch))
    assert text.decode() == "\n".join(encode_rows(batch))


def flattened(plane: ValueType, value: Any) -> Any:
    """Return a record or array without the line breaks of its layout, which a line of output cannot have."""
    return value.replace("\n", " ") if plane in {ValueType.RECORD, ValueType.ARRAY} else value


@settings(max_examples=70, deadline=None)
@given(events(), st.data())
def test_mutilated_bytes_are_taken_as_strictly_as_by_the_standard_parser(
    found: list[list[Pair]], data: st.DataObject
) -> None:
    texts = []
    for pairs in found:
        body = ("{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}").encode()
        at = data.draw(st.integers(0, len(body) - 1))
        byte = bytes([data.draw(st.sampled_from(b'{}[]",:\\0.e-tfnu \x01\xff\xc3'))])
        texts.append(
            data.draw(st.sampled_from([body, body[:at] + byte + body[at:], body[:at] + body[at + 1 :]]))
        )
    decoder = JsonDecoder()
    with only_reader(data.draw(st.sampled_from(READERS))):
        decoded = decoder.decode(texts)
    good = [origin for origin, body in enumerate(texts) if standard_parser_takes(body)]
    assert [reject.origin for reject in decoded.rejects] == [o for o in range(len(texts)) if o not in good]
    assert decoded.batch.frame[ORIGIN].to_list() == good
    assert cells_by_row(decoded.batch) == [standard_cells(texts[origin]) for origin in good]


def outermost_pairs(body: bytes) -> list[tuple[str, Any]]:
    """Return the pairs of an object as the standard parser sees them; raises ValueError."""

    def refuse(_: object) -> float:
        raise ValueError("not JSON")

    text = body.decode()
    if not text.lstrip().startswith("{"):
        raise ValueError("no object")
    pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=Pairs, parse_constant=refuse)
    json.dumps(pairs, ensure_ascii=False).encode()  # raises for half a surrogate pair
    return pairs


class Pairs(list[tuple[str, Any]]):
    """An object, told from an array."""


def standard_parser_takes(body: bytes) -> bool:
    try:
        pairs = outermost_pairs(body)
    except ValueError:
        return False
    numbers = [value for _, value in pairs if type(value) in (int, float)]
    in_range = all(abs(n) < math.inf if type(n) is float else -(2**63) <= n < 2**63 for n in numbers)
    return in_range and len({name for name, _ in pairs}) == len(pairs)


def standard_cells(body: bytes) -> Cells:
    """Return the cells of a good event; a record or array is the text between colon and comma or brace."""
    cells: Cells = {}
    end = re.compile(r"\s*[,}]")
    text = body.decode()
    at = text.index("{") + 1
    decoder = json.JSONDecoder()
    for name, value in outermost_pairs(body):
        _, at = decoder.raw_decode(text, WHITE.match(text, at).end())  # type: ignore[union-attr]
        begin = WHITE.match(text, text.index(":", at) + 1).end()  # type: ignore[union-attr]
        _, stop = decoder.raw_decode(text, begin)
        at = end.match(text, stop).end()  # type: ignore[union-attr]
        if isinstance(value, list):
            cells[name] = (
                ValueType.RECORD if isinstance(value, Pairs) else ValueType.ARRAY,
                text[begin:stop],
            )
        elif value is not None:
            cells[name] = scalar_cell(value)
    return cells


def scalar_cell(value: Any) -> tuple[ValueType, Any]:
    kinds = {str: ValueType.TEXT, bool: ValueType.BIT, int: ValueType.BIGINT, float: ValueType.FLOAT}
    return kinds[type(value)], struct.pack("<d", value) if type(value) is float else value


WHITE = re.compile(r"\s*")

PYTHON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.datetimes().map(lambda value: value.replace(fold=0)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=70, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "A", "c d"]), PYTHON, max_size=4), max_size=6))
def test_python_rows_come_back_as_they_went_in(given_rows: list[dict[str, Any]]) -> None:
    batch = from_rows(given_rows)
    names = [column.name for column in batch.columns]
    assert encode_block(batch) == ("\n".join(encode_rows(batch)).encode(), {})
    for got, row in zip(rows(batch), given_rows, strict=True):
        assert list(got) == names
        for name in names:
            assert repr(got[name]) == repr(as_read(row.get(name), top=True))


def as_read(value: Any, *, top: bool = False) -> Any:
    if isinstance(value, datetime):
        aware = value.replace(tzinfo=UTC)
        return aware if top else value.isoformat(timespec="microseconds") + "0Z"
    if isinstance(value, dict):
        return {key: as_read(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_read(item) for item in value]
    return value
