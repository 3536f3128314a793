"""A user's aggregate: a class folded over rows, whose state is plain data between calls."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.finite import Cuts
from headrace.engine.query import query_in_pieces
from headrace.engine.snapshot import decode, encode
from headrace.errors import DataError, QueryError, Transient, UserError
from headrace.models.aggregate import AggregateError, PythonAggregate, is_aggregate

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Spread:
    def init(self):
        self.low = None
        self.high = None

    def accumulate(self, value, timestamp):
        if value is not None:
            self.low = value if self.low is None else min(self.low, value)
            self.high = value if self.high is None else max(self.high, value)

    def compute_result(self):
        return None if self.low is None else self.high - self.low


def keeping(value):
    """An aggregate whose object keeps `value` from its first row on."""

    class Keeping:
        def init(self):
            self.kept = None

        def accumulate(self, _value, timestamp):
            self.kept = value

        def compute_result(self):
            return self.kept

    return PythonAggregate("uda.keeping", Keeping)


def folded(aggregate, values, state=None):
    rows = [(value,) for value in values]
    times = [NOON + timedelta(seconds=second) for second in range(len(rows))]
    return aggregate.accumulate(aggregate.initial() if state is None else state, rows, times)


def test_a_class_is_initialised_fed_and_asked_for_its_result():
    aggregate = PythonAggregate("uda.spread", Spread)
    assert aggregate.arguments == 1
    assert aggregate.result(folded(aggregate, [3, 11, None, 6])) == 8
    assert aggregate.result(aggregate.initial()) is None


def test_the_timestamp_is_the_last_argument_behind_any_number_of_values():
    class Latest:
        def __init__(self):
            self.pairs = []

        def accumulate(self, first, second, timestamp):
            self.pairs.append((first, second, timestamp))

        def computeResult(self):
            return self.pairs

    aggregate = PythonAggregate("uda.latest", Latest)
    assert aggregate.arguments == 2
    state = aggregate.accumulate(aggregate.initial(), [(1, {"a": 2})], [NOON])
    assert aggregate.result(decode(encode(state))) == [(1, {"a": 2}, NOON)]


@given(st.lists(st.integers(-9, 9)), st.data())
def test_a_state_saved_and_restored_anywhere_changes_nothing(values, data):
    aggregate = PythonAggregate("uda.spread", Spread)
    cut = data.draw(st.integers(0, len(values)))
    halfway = decode(encode(folded(aggregate, values[:cut])))
    whole = aggregate.result(folded(aggregate, values))
    assert aggregate.result(folded(aggregate, values[cut:], halfway)) == whole


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers(), st.text()), inner)
        | st.sets(st.text() | st.floats(allow_nan=False))
        | st.frozensets(st.integers())
    ),
    max_leaves=8,
)


@given(PLAIN)
def test_whatever_an_object_may_keep_comes_back_equal_and_of_its_type(value):
    aggregate = keeping(value)
    kept = aggregate.result(decode(encode(folded(aggregate, [1]))))
    assert kept == value
    assert type(kept) is type(value)


def test_a_state_never_changes_in_place():
    class Collecting:
        def init(self):
            self.seen = [[]]

        def accumulate(self, value, timestamp):
            self.seen[0].append(value)

        def compute_result(self):
            self.seen[0].append("asked")
            return self.seen

    aggregate = PythonAggregate("uda.collecting", Collecting)
    first = folded(aggregate, [1])
    second = folded(aggregate, [2], first)
    for _ in range(2):
        assert aggregate.result(aggregate.initial()) == [["asked"]]
        assert aggregate.result(first) == [[1, "asked"]]
        assert aggregate.result(second) == [[1, 2, "asked"]]


def test_numpy_scalars_are_kept_as_numbers():
    aggregate = keeping(np.float64(2.5))
    assert aggregate.result(decode(encode(folded(aggregate, [1])))) == 2.5


@pytest.mark.parametrize("value", [SimpleNamespace(), [{1: print}], {"a": {"b": timedelta(1)}}, np.zeros(2)])
def test_what_cannot_be_saved_is_named_with_its_place(value):
    with pytest.raises(
        UserError, match=r"uda\.keeping keeps a value of type \w+ in self\.kept.*cannot be saved"
    ):
        folded(keeping(value), [1])


def test_a_list_that_holds_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(UserError, match="nested deeper"):
        folded(keeping(endless), [1])


def test_an_exception_is_told_in_its_own_words_with_the_row():
    class Picky(Spread):
        def accumulate(self, value, timestamp):
            super().accumulate(value, timestamp)
            if value == 2:
                raise ValueError("no twos please")

        def compute_result(self):
            return 1 / self.low

    aggregate = PythonAggregate("uda.picky", Picky)
    with pytest.raises(AggregateError, match=r"^uda\.picky failed: ValueError: no twos please$") as caught:
        folded(aggregate, [1, 2, 3])
    assert caught.value.row == 1
    with pytest.raises(AggregateError, match="ZeroDivisionError") as caught:
        aggregate.result(folded(aggregate, [0]))
    assert caught.value.row is None


def test_transient_errors_pass_through():
    class Away(Spread):
        def accumulate(self, value, timestamp):
            raise Transient("the service is away")

    with pytest.raises(Transient):
        folded(PythonAggregate("uda.away", Away), [1])


def _class(**members):
    return type("Made", (), members)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (_class(compute_result=lambda self: 1), "accumulate is missing"),
        (_class(accumulate=lambda self, value, timestamp: None), "compute_result is missing"),
        (_class(accumulate=lambda self, value: None, compute_result=lambda self: 1), "accumulate takes"),
        (
            _class(init=lambda self: 1 / 0, accumulate=lambda self, v, t: 0, compute_result=lambda self: 1),
            "uda.f failed: ZeroDivisionError",
        ),
        (
            _class(__slots__=(), accumulate=lambda self, v, t: 0, compute_result=lambda self: 1),
            "leave __slots__ out",
        ),
        (
            _class(
                init=lambda self: setattr(self, "file", print),
                accumulate=lambda self, v, t: 0,
                compute_result=lambda self: 1,
            ),
            "self.file",
        ),
    ],
)
def test_a_class_that_is_no_aggregate_is_refused_when_it_is_declared(cls, message):
    with pytest.raises(UserError, match=message):
        PythonAggregate("uda.f", cls)


def test_coroutines_are_refused():
    class Waiting(Spread):
        async def compute_result(self):
            return 1

    with pytest.raises(UserError, match="async"):
        PythonAggregate("uda.waiting", Waiting)


def test_a_varying_number_of_values_is_known_only_when_called():
    class Summing(Spread):
        def accumulate(self, *values):
            self.low = sum(values[:-1])

    assert PythonAggregate("uda.summing", Summing).arguments is None


def test_classes_are_told_from_functions():
    assert is_aggregate(Spread)
    assert not is_aggregate(Spread())
    assert not is_aggregate(lambda value: value)


EVENTS = [{"v": value, "t": f"2026-03-02T14:00:0{value}Z"} for value in range(4)]


@pytest.mark.parametrize(
    ("window", "found"),
    [
        ("GROUP BY TumblingWindow(second, 10)", [0, 2]),
        ("GROUP BY HoppingWindow(second, 4, 2)", [0, 2, 2, 0]),
        ("GROUP BY SlidingWindow(second, 2)", [0, 1, 1, 1, 0]),
        ("GROUP BY SessionWindow(second, 1, 60)", [3]),
    ],
)
def test_an_aggregate_is_computed_for_each_window(window, found):
    query = f"SELECT uda.spread(v) AS x FROM src TIMESTAMP BY t {window}"
    for cuts in (None, Cuts(1, restarting=True)):
        answer = query_in_pieces(query, {"src": EVENTS}, functions={"spread": Spread}, cuts=cuts)
        assert [row["x"] for row in answer["output"]] == found


def test_a_failing_aggregate_stops_the_query_in_its_own_words_and_names_the_call():
    class Failing(Spread):
        def compute_result(self):
            raise KeyError("nowhere")

    query = "SELECT uda.f(v) AS x FROM src TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)"
    with pytest.raises(
        DataError, match=r"^f failed: KeyError: 'nowhere' in expression 'uda\.f\(v\)' at line 1"
    ):
        query_in_pieces(query, {"src": EVENTS}, functions={"uda.f": Failing})


def test_a_call_with_another_number_of_values_is_refused_before_anything_runs():
    query = "SELECT uda.f(v, v) AS x FROM src TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)"
    with pytest.raises(QueryError, match="takes 1 value, and 2 are given") as caught:
        query_in_pieces(query, {"src": []}, functions={"f": Spread})
    assert caught.value.column == 8


def test_a_whole_event_comes_as_a_dict():
    class Names(Spread):
        def accumulate(self, value, timestamp):
            self.low = [*(self.low or []), (sorted(value), timestamp.second)]

        def compute_result(self):
            return self.low

    query = "SELECT uda.f(src) AS x FROM src TIMESTAMP BY t GROUP BY TumblingWindow(minute, 1)"
    [row] = query_in_pieces(query, {"src": EVENTS[1:2]}, functions={"f": Names})["output"]
    assert row == {"x": [[["t", "v"], 1]]}
