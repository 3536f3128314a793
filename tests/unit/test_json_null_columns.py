"""Rows whose named columns hold nothing at all are still rows."""

import polars as pl
import pytest

from headrace.events.batch import Batch, Column
from headrace.events.formats.json import encode_lines, encode_rows


@pytest.mark.parametrize("height", [0, 1, 3])
def test_each_row_has_a_text_of_its_own_even_if_all_columns_are_null_in_all_rows(height):
    batch = Batch(pl.DataFrame({"@origin": range(height)}), (Column("a", ()), Column("b", ())))
    assert encode_rows(batch).to_list() == ['{"a":null,"b":null}'] * height
    assert encode_lines(batch).count(b"\n") == max(0, height - 1)
