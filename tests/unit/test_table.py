"""Tables: what was upserted last is what is read, in key order, page by page."""

import tempfile
from pathlib import Path

import apsw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import UserError
from headrace.local import namespace as namespace_module
from headrace.local import table as table_module
from headrace.local.namespace import Namespace
from headrace.local.table import Entities, Entity, Table, list_tables

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(
    ["", "a", "A", "a\0", "a\0\0", "b", "ä", "\U0001f600", "\uffff", "%", "'", "NULL"]
)
ROWS = st.lists(st.tuples(KEYS, KEYS, st.integers().map(lambda n: f'{{"n":{n}}}')), max_size=12)


@pytest.fixture
def namespace(tmp_path):
    with Namespace.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def table(namespace):
    return Table(namespace, "papers")


def entities(rows):
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    return Entities(*(pl.Series(column, dtype=pl.String) for column in columns))


def upsert(namespace, table, rows):
    with namespace.transaction() as tx:
        table.upsert(tx, entities(rows))


def rows_of(*keys):
    return [(*key.split("/"), f'{{"key":"{key}"}}') for key in keys]


#: Where a sync costs nothing, for tests whose subject is not the disk.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@settings(max_examples=50, deadline=None)
@given(
    batches=st.lists(ROWS, max_size=4),
    page_rows=st.integers(1, 4),
    partition=KEYS,
    bounds=st.tuples(KEYS, st.none() | KEYS),
    after=st.none() | st.tuples(KEYS, KEYS),
    limit=st.none() | st.integers(0, 8),
)
def test_a_table_is_a_dictionary_in_key_order(batches, page_rows, partition, bounds, after, limit):
    stored = {}
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        Namespace.open(Path(folder)) as namespace,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(table_module, "MAX_PAGE_ROWS", page_rows)
        table = Table(namespace, "t")
        for rows in batches:
            upsert(namespace, table, rows)
            stored |= {row[:2]: row[2] for row in rows}
        in_order = [Entity(*key, stored[key]) for key in sorted(stored)]
        assert list(table.read()) == in_order
        assert table.count() == len(in_order)
        behind = [row for row in in_order if after is None or row[:2] > after]
        assert list(table.read(after=after, limit=limit)) == behind[:limit]
        low, high = bounds
        found = table.read(
            partition_key=partition, row_key_from=low, row_key_to=high, after=after, limit=limit
        )
        within = [
            row
            for row in behind
            if row.partition_key == partition and low <= row.row_key and (high is None or row.row_key < high)
        ]
        assert list(found) == within[:limit]


def test_a_later_row_takes_the_place_of_the_one_with_its_key(namespace, table):
    upsert(namespace, table, [("p", "r", '{"a":1,"b":2}'), ("p", "s", "{}")])
    upsert(namespace, table, [("p", "r", '{"b":3}')])
    assert list(table.read()) == [("p", "r", '{"b":3}'), ("p", "s", "{}")]


@pytest.mark.parametrize("sorted_from", [0, 1_000], ids=["many", "few"])
def test_of_equal_keys_in_one_batch_the_last_one_stays(namespace, table, monkeypatch, sorted_from):
    monkeypatch.setattr(table_module, "_SORTED_FROM", sorted_from)
    upsert(namespace, table, [("p", str(n % 10), str(n)) for n in range(5000)])
    assert list(table.read()) == [("p", str(n), str(4990 + n)) for n in range(10)]


def test_tables_of_one_namespace_do_not_meet(namespace, table):
    upsert(namespace, table, rows_of("p/1"))
    upsert(namespace, Table(namespace, "other"), rows_of("p/2"))
    assert [row.row_key for row in table.read()] == ["1"]
    assert list_tables(namespace) == ["other", "papers"]


def test_a_table_that_was_undone_can_be_written_again(namespace, table):
    with pytest.raises(apsw.ConstraintError):
        upsert(namespace, table, [*rows_of("p/1"), ("p", "1", None)])
    assert list_tables(namespace) == []
    upsert(namespace, table, rows_of("p/2"))
    assert [row.row_key for row in table.read()] == ["2"]


def test_reading_keeps_no_transaction_open_between_rows(namespace, table, monkeypatch):
    monkeypatch.setattr(table_module, "MAX_PAGE_ROWS", 2)
    upsert(namespace, table, rows_of("p/1", "p/3", "p/5"))
    reader = table.read()
    assert next(reader).row_key == "1"
    upsert(namespace, table, rows_of("p/4"))
    assert [row.row_key for row in reader] == ["3", "4", "5"]


def test_pages_are_bounded_in_bytes(namespace, table, monkeypatch):
    monkeypatch.setattr(namespace_module, "MAX_BATCH_BYTES", 1)
    upsert(namespace, table, rows_of("p/1", "p/2", "p/3"))
    assert [row.row_key for row in table.read()] == ["1", "2", "3"]
    assert [row.row_key for row in table.read(limit=2)] == ["1", "2"]


def test_a_page_ends_between_keys_that_begin_alike(namespace, table, monkeypatch):
    monkeypatch.setattr(table_module, "MAX_PAGE_ROWS", 1)
    keys = ["", "\0", "\0\0", "a", "a\0", "a\0\0", "a\x01", "a0", "aa"]
    upsert(namespace, table, [(partition, row, "{}") for partition in keys for row in keys])
    assert [row[:2] for row in table.read()] == [(partition, row) for partition in keys for row in keys]
    assert [row.row_key for row in table.read(partition_key="a", after=("a", "a"))] == keys[4:]


def test_a_range_of_row_keys_without_a_partition_is_refused(table):
    with pytest.raises(UserError, match="needs the partition key"):
        table.read(row_key_from="a")


def test_reading_walks_along_the_key_index(namespace):
    with namespace.reading() as connection:
        plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + table_module._PAGE, (None,) * 6)]
    assert plan[0] == (
        "SEARCH entity USING INDEX entity_by_key "
        "(table_id=? AND (partition_key,row_key)>(?,?) AND (partition_key,row_key)<(?,?))"
    )
    assert not any("TEMP B-TREE" in line for line in plan)


def test_a_name_that_is_no_name_is_refused(namespace):
    with pytest.raises(UserError, match="cannot name a table"):
        Table(namespace, "entity; DROP TABLE entity")


def test_a_table_is_exported_in_key_order(namespace, table, tmp_path):
    upsert(namespace, table, rows_of("q/1", "p/2", "p/10"))
    assert table.export(tmp_path / "out.jsonl") == 3
    assert (tmp_path / "out.jsonl").read_text() == (
        '{"partition_key":"p","row_key":"10","properties":{"key":"p/10"}}\n'
        '{"partition_key":"p","row_key":"2","properties":{"key":"p/2"}}\n'
        '{"partition_key":"q","row_key":"1","properties":{"key":"q/1"}}\n'
    )


def test_exporting_a_table_that_is_not_there_names_the_near_one(namespace, table, tmp_path):
    upsert(namespace, table, rows_of("p/1"))
    with pytest.raises(UserError, match=r"there is no table 'paper'\. Did you mean 'papers'\?"):
        Table(namespace, "paper").export(tmp_path / "out.csv")
