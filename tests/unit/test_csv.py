"""CSV: what is text, what is NULL, and what is no record."""

import datetime as dt

import numpy as np
import pytest

from headrace.errors import DataError, UserError
from headrace.events.batch import ORIGIN
from headrace.events.formats.csv import CsvDecoder, encode_csv, record_ends
from headrace.events.formats.json import from_rows, rows

MANY = 40  # records enough for the fast path


def read(records, header=b"a,b", **settings):
    return CsvDecoder(header, **settings).decode(records)


@pytest.mark.parametrize("copies", [1, MANY])
def test_values_are_text_an_empty_field_is_null_and_quotes_make_an_empty_text(copies):
    found = read([b'1,""', b',"a ""b"""', b" x ,\xc3\xa9\r", b'"1\n2",3'] * copies)
    assert rows(found.batch)[:4] == [
        {"a": "1", "b": ""},
        {"a": None, "b": 'a "b"'},
        {"a": " x ", "b": "é"},
        {"a": "1\n2", "b": "3"},
    ]
    assert found.batch.height == 4 * copies
    assert not found.rejects


@pytest.mark.parametrize("around", [0, MANY])
@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"1", "1 field, where the header has 2"),
        (b"", "1 field, where the header has 2"),
        (b"1,2,3", "3 fields, where the header has 2"),
        (b'"x"y,2', "'y' behind the quote that closes field 1"),
        (b'1,x"y', "a quote inside field 2, which does not begin with one"),
        (b'1,"y', "the quote that opens field 2 is not closed"),
        (b"1,\xff", "not UTF-8: byte 0xff at byte 2"),
        (b"1\n2,3", "a line break outside quotes"),
    ],
)
def test_a_bad_record_is_rejected_with_a_reason_and_its_neighbours_are_read(record, reason, around):
    found = read([*[b"1,2"] * around, record, *[b'3,"4"'] * around])
    assert [(reject.origin, reject.reason) for reject in found.rejects] == [(around, reason)]
    expected = np.delete(np.arange(2 * around + 1), around).tolist()
    assert found.batch.frame[ORIGIN].to_list() == expected


@pytest.mark.parametrize(
    ("header", "reason"),
    [(b"a,a", "names column 'a' twice"), (b"a,,b", "column 2 .* has no name"), (b'"a', "cannot be read")],
)
def test_a_header_must_name_each_column_once(header, reason):
    with pytest.raises(DataError, match=reason):
        CsvDecoder(header)
    assert CsvDecoder().decode([header + b"\n1,2"]).rejects


def test_a_body_may_be_a_document_with_a_header_of_its_own():
    bodies = [b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4\r\n", b'b,a\n"x\ny",5', b"", b"a,b\n6,7\n8", b"a,b\n"]
    found = CsvDecoder().decode(bodies)
    assert rows(found.batch) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}, {"a": "5", "b": "x\ny"}]
    assert found.batch.frame[ORIGIN].to_list() == [0, 0, 1]
    assert [(reject.origin, reject.reason.split(":")[0]) for reject in found.rejects] == [
        (2, "empty body"),
        (3, "1 field, where the header has 2"),
        (4, "a header without a record"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
def test_any_delimiter_reads_back_what_it_wrote(delimiter):
    batch = from_rows([{"a": "x,y;z\t|u v", "b": None}, {"a": "", "b": '"\r\n'}] * MANY)
    text = encode_csv(batch, ["b", "a"], header=True, delimiter=delimiter)
    found = CsvDecoder(delimiter=delimiter).decode([text])
    assert rows(found.batch) == [{"b": row["b"], "a": row["a"]} for row in rows(batch)]


def test_another_delimiter_is_refused():
    with pytest.raises(UserError, match="delimiter ':' is not known"):
        CsvDecoder(b"a", ":")


def test_records_end_at_newlines_outside_quotes():
    assert record_ends(b'a,b\n"x\ny",1\n"p""\n"\nrest').tolist() == [4, 12, 19]


def test_every_type_is_written_as_json_writes_it_without_its_quotes():
    batch = from_rows(
        [
            {"x": 1, "r": {"a": [1, 2.5]}, "t": dt.datetime(2026, 1, 2, 3, 4, 5, 6), "o": 1},
            {"x": 2.0, "r": None, "t": None, "o": "é"},
            {"x": True, "r": [], "t": None, "o": dt.datetime(1, 1, 1)},
        ]
    )
    assert encode_csv(batch, ["t", "x", "r", "o", "none"], header=True).decode() == (
        "t,x,r,o,none\n"
        '2026-01-02T03:04:05.0000060Z,1,"{""a"":[1,2.5]}",1,\n'
        ",2.0,,é,\n"
        ",true,[],0001-01-01T00:00:00.0000000Z,\n"
    )


def test_a_header_is_quoted_where_it_must_be_and_stands_without_rows():
    assert encode_csv(from_rows([]), ["a,b", 'c"'], header=True) == b'"a,b","c"""\n'
