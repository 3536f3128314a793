"""Which partition a key goes to: equal values together, the same for ever."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.spreading import partitions_of
from headrace.events.batch import DTYPES, ValueType
from headrace.events.formats.json import JsonDecoder


def spread(*keys, count=4):
    """The partitions of rows whose keys are given as JSON texts, column by column."""
    columns = []
    for texts in keys:
        lines = [b'{"k":%s}' % text.encode() for text in texts]
        batch = JsonDecoder().decode(lines, b"\n".join(lines)).batch
        [column] = batch.columns
        columns.append({plane: batch.frame[column.physical(plane)] for plane in column.planes})
    return partitions_of(columns, len(keys[0]), count).to_list()


def test_a_key_has_the_same_partition_in_every_version_for_ever():
    """What is kept of a key is where these say: a failure here means that the hash has changed."""
    texts = ['"a"', '"user-7"', '"é"', '""', "0", "1", "-5", "2.5", "true", "false", '{"a":1}', "[1]"]
    assert spread(texts, count=7) == [5, 5, 3, 3, 3, 1, 1, 6, 1, 6, 6, 2]
    assert spread(['"a"', '"b"'], ["1", "2"], count=7) == [6, 2]
    times = pl.Series([0, 1_767_225_600_000_000]).cast(DTYPES[ValueType.DATETIME])
    assert partitions_of([{ValueType.DATETIME: times}], 2, 7).to_list() == [4, 0]


def test_null_goes_to_the_first_partition():
    assert spread(["null", '"a"', "null"], count=97)[::2] == [0, 0]
    assert partitions_of([{}], 3, 97).to_list() == [0, 0, 0]


def test_one_and_one_point_nought_and_negative_nought_go_where_their_equals_go():
    one, same, nought, negative = spread(["1", "1.0", "0", "-0.0"], count=97)
    assert one == same
    assert nought == negative


def test_keys_of_several_columns_are_told_apart_by_their_order():
    one, other = spread(['"a"', '"b"'], ['"b"', '"a"'], count=9_973)
    assert one != other


def test_keys_spread_over_the_partitions():
    for texts in ([f'"user-{n}"' for n in range(4000)], [str(n) for n in range(4000)]):
        found = spread(texts)
        assert all(850 < found.count(partition) < 1150 for partition in range(4))


@given(
    st.lists(
        st.one_of(
            st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=True), st.text()
        ),
        min_size=1,
    ),
    st.integers(1, 9),
)
def test_equal_values_go_together_whatever_else_is_there(values, count):
    def planes(some):
        kinds = {bool: ValueType.BIT, int: ValueType.BIGINT, float: ValueType.FLOAT, str: ValueType.TEXT}
        return {
            type_: pl.Series([v if type(v) is kind else None for v in some], dtype=DTYPES[type_])
            for kind, type_ in kinds.items()
        }

    together = partitions_of([planes(values)], len(values), count).to_list()
    alone = [partitions_of([planes([value])], 1, count).item() for value in values]
    assert together == alone
    assert all(0 <= partition < count for partition in together)
    for value, partition in zip(values, together, strict=True):
        if type(value) is float and value.is_integer() and -(2**63) <= value < 2**63:
            assert partition == partitions_of([planes([int(value)])], 1, count).item()
