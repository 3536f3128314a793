"""Sources of several: their columns under the name of the source."""

import polars as pl

from headrace.engine.operators.qualify import qualify
from headrace.events.batch import HIDDEN, ORIGIN, TIME
from headrace.events.formats.json import from_rows
from headrace.sql.plan import SOURCE_TIME, qualified
from tests.unit.joining import timed

EVENTS = [{"t": 1, "Mixed": 1, "r": {"x": 1}}, {"t": 2, "Mixed": "x"}, {"t": 3, "Mixed": 2.5}]


def test_every_column_carries_the_name_of_its_source_and_keeps_its_types_and_values() -> None:
    batch = timed(EVENTS)
    found = qualify(batch, "Left")
    assert [column.name for column in found.columns[:-1]] == [
        qualified("left", x) for x in ("t", "Mixed", "r")
    ]
    for before, after in zip(batch.columns, found.columns, strict=False):
        assert (before.planes, before.open) == (after.planes, after.open)
        for plane in before.planes:
            values = found.frame[after.physical(plane)].alias("")
            assert values.equals(batch.frame[before.physical(plane)].alias(""), null_equal=True)


def test_the_time_of_the_source_is_a_column_beside_the_time_and_the_origin_of_the_row() -> None:
    batch = timed(EVENTS)
    found = qualify(batch, "a")
    (time,) = found.named(qualified("a", SOURCE_TIME))
    assert found.frame[time.physicals[0]].to_list() == batch.frame[TIME].to_list()
    assert found.frame[TIME].equals(batch.frame[TIME])
    assert found.frame[ORIGIN].equals(batch.frame[ORIGIN])


def test_hidden_columns_are_renamed_too() -> None:
    batch = timed(EVENTS).with_column(f"{HIDDEN}score", {})
    assert qualified("a", f"{HIDDEN}score") in [column.name for column in qualify(batch, "a").columns]


def test_rows_without_a_time_get_none() -> None:
    found = qualify(from_rows([{"x": 1}]), "sites")
    assert [column.name for column in found.columns] == [qualified("sites", "x")]


def test_the_batch_that_was_given_stays_as_it_is() -> None:
    batch = timed(EVENTS)
    before = batch.frame.clone()
    qualify(batch, "a")
    assert batch.frame.equals(before)
    assert isinstance(batch.frame, pl.DataFrame)
