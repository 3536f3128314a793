"""Formats against oracles of other hands: the csv module, fastavro, and Polars' own reader of Parquet."""

import csv
import datetime as dt
from io import BytesIO, StringIO
from itertools import pairwise

import fastavro
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.events.formats.avro import AvroRows, encode_avro
from headrace.events.formats.csv import CsvDecoder, encode_csv, record_ends
from headrace.events.formats.csv_records import fields_of
from headrace.events.formats.json import from_rows, rows
from headrace.events.formats.json_lines import BadEvent
from headrace.events.formats.parquet import ParquetRows, encode_parquet

TEXTS = st.text(st.sampled_from('a, ;"\n\ré0'), max_size=6)
TABLES = st.lists(st.tuples(st.none() | TEXTS, TEXTS, TEXTS), min_size=1, max_size=40)
BIGINTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DATETIMES = st.datetimes(timezones=st.just(dt.UTC))
TYPED = st.lists(
    st.fixed_dictionaries(
        {
            "bit": st.none() | st.booleans(),
            "bigint": st.none() | BIGINTS,
            "float": st.none() | FLOATS,
            "text": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            "datetime": st.none() | DATETIMES,
        }
    ),
    min_size=1,
    max_size=20,
)


def cut(text):
    """Return the records of a CSV without its header."""
    ends = [0, *record_ends(text).tolist()]
    return [text[start:end] for start, end in pairwise(ends)]


@settings(max_examples=150, deadline=None)
@given(TABLES)
def test_what_is_written_as_csv_is_read_by_the_csv_module_and_back_exactly(table):
    expected = [dict(zip("abc", row, strict=True)) for row in table]
    text = encode_csv(from_rows(expected), list("abc"), header=True)
    oracle = list(csv.reader(StringIO(text.decode(), newline=""), strict=True))
    assert oracle == [list("abc"), *[[value or "" for value in row] for row in table]]
    header, *records = cut(text)
    found = CsvDecoder(header).decode(records)
    assert not found.rejects
    assert [[row.get(name) for name in "abc"] for row in rows(found.batch)] == [list(row) for row in table]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from('a,"\n\ré'), max_size=8), max_size=40))
def test_many_records_are_read_as_each_would_be_alone(records):
    bodies = [record.encode() for record in records]
    found = CsvDecoder(b"a,b").decode(bodies)
    expected, bad = {}, {}
    for index, body in enumerate(bodies):
        try:
            fields = fields_of(body.removesuffix(b"\n"), ",")
        except BadEvent as error:
            bad[index] = str(error)
            continue
        if len(fields) == 2:
            expected[index] = fields
        else:
            bad[index] = None
    origins = found.batch.frame["@origin"].to_list()
    values = [[row.get(name) for name in "ab"] for row in rows(found.batch)]
    assert dict(zip(origins, values, strict=True)) == expected
    assert [reject.origin for reject in found.rejects] == list(bad)
    assert all(bad[reject.origin] in (None, reject.reason) for reject in found.rejects)


@settings(max_examples=60, deadline=None)
@given(TYPED)
def test_types_survive_avro_and_fastavro_reads_the_same(table):
    data = encode_avro(from_rows(table), list(table[0]))
    assert list(fastavro.reader(BytesIO(data))) == table
    found = rows(AvroRows(BytesIO(data)).read(0, len(table)).batch)
    assert [{name: row.get(name) for name in table[0]} for row in found] == table


@settings(max_examples=60, deadline=None)
@given(TYPED)
def test_types_survive_parquet_and_polars_reads_the_same(table):
    data, failures = encode_parquet(from_rows(table), list(table[0]))
    assert not failures
    assert pl.read_parquet(BytesIO(data)).to_dicts() == table
    found = rows(ParquetRows(BytesIO(data)).read(0, len(table)).batch)
    assert [{name: row.get(name) for name in table[0]} for row in found] == table
