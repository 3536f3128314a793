"""The runner of conformance cases: what it runs, and that it tells every kind of difference."""

import pytest

from headrace.errors import DataError, QueryError, UserError
from headrace.testing import check_case, differences, run_case

ROWS = [{"a": 1}, {"a": 2}]


def texts(found, **case):
    expected = case.pop("expected", ROWS)
    return [str(one) for one in differences({"expected": {"output": expected}, **case}, {"output": found})]


def test_rows_are_equal_as_multisets_numbers_by_value_and_null_as_absent():
    assert texts([{"a": 2.0, "b": None}, {"a": 1}]) == []
    assert texts([{"a": True}, {"a": 2}]) == []
    assert texts([{"a": 0.1 + 0.2}], expected=[{"a": 0.3, "b": None}]) == []


def test_a_wrong_a_missing_and_an_extra_row_are_told_apart():
    expected = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert texts([{"a": 1, "b": "z"}, expected[1]], expected=expected) == [
        'output: wrong in b\n  expected {"a": 1, "b": "x"}\n     found {"a": 1, "b": "z"}'
    ]
    assert texts(expected[:1], expected=expected) == ['output: missing {"a": 2, "b": "y"}']
    assert texts([*ROWS, {"a": 2}]) == ['output: extra   {"a": 2}']
    assert texts([], expected=[]) == []


def test_an_integer_that_is_off_by_one_is_wrong_however_large():
    assert len(texts([{"a": 9007199254740993}], expected=[{"a": 9007199254740992}])) == 1


def test_order_counts_where_the_case_says_so():
    assert texts(ROWS[::-1]) == []
    [told] = texts(ROWS[::-1], ordered=True)
    assert told.startswith("output: the right rows, in another order, from here on")


def test_texts_of_one_instant_are_equal():
    expected = [{"t": "2026-03-02T08:00:00Z", "r": {"t": ["2026-03-02T08:00:00Z"]}}]
    found = [{"t": "2026-03-02T09:00:00.0000000+01:00", "r": {"t": ["2026-03-02T08:00:00.0000000Z"]}}]
    assert texts(found, expected=expected) == []
    assert len(texts([{"t": "2026-03-02T08:00:01Z"}], expected=[{"t": "2026-03-02T08:00:00Z"}])) == 1


def test_what_compare_allows():
    assert texts([{"a": 1, "b": 5}], expected=[{"a": 1}], compare={"extra_columns": "ignore"}) == []
    assert texts([{"a": 1.05}], expected=[{"a": 1}], compare={"tolerance_rel": 0.1}) == []
    shuffled = {"expected": [{"a": [1, 2, 2], "b": [1]}], "compare": {"unordered_arrays": ["a"]}}
    assert texts([{"a": [2, 1, 2.0], "b": [1]}], **shuffled) == []
    assert len(texts([{"a": [2, 1, 1], "b": [1]}], **shuffled)) == 1
    assert len(texts([{"a": [2, 1]}], expected=[{"a": [1, 2]}])) == 1


def test_an_output_that_nobody_expects_must_be_silent():
    case = {"expected": {"a": []}}
    assert differences(case, {"a": [], "b": []}) == []
    assert [str(one) for one in differences(case, {"b": [{"x": 1}]})] == ['b: extra   {"x": 1}']


CASE = {
    "query": "SELECT udf.twice(n) AS n, System.Timestamp() AS t INTO o FROM src TIMESTAMP BY t",
    "inputs": {"src": [{"n": 1, "t": "2026-03-02T08:00:00Z"}]},
    "functions": {
        "udf.twice": {
            "kind": "udf",
            "language": "python",
            "source": "import math\ndef helper(x):\n    return x + x\ndef twice(x):\n    return helper(x)",
        }
    },
}


def test_a_case_gives_rows_as_a_json_output_writes_them():
    assert run_case(CASE) == {"o": [{"n": 2, "t": "2026-03-02T08:00:00.0000000Z"}]}


def test_an_output_that_stays_silent_is_there_without_rows():
    assert run_case({"query": "SELECT n INTO o FROM src WHERE n > 1", "inputs": {"src": [{"n": 1}]}}) == {
        "o": []
    }


def test_a_case_raises_what_a_user_would_get():
    with pytest.raises(QueryError, match="there is no function UPER"):
        run_case({"query": "SELECT UPER(n) AS n FROM src", "inputs": {"src": []}})
    with pytest.raises(DataError, match="Cannot divide"):
        run_case({"query": "SELECT 1 / n AS n FROM src", "inputs": {"src": [{"n": 0}]}})


def test_a_batch_function_gets_all_rows_at_once():
    source = "def score(rows):\n    return [len(rows) for _ in rows]"
    case = {
        "query": "SELECT udf.score(n) AS n FROM src",
        "inputs": {"src": [{"n": 1}, {"n": 2}]},
        "functions": {"udf.score": {"kind": "ml", "batch": True, "source": source}},
    }
    assert run_case(case) == {"output": [{"n": 2}, {"n": 2}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"query": None}, "case 'c': query: expected a text, found nothing"),
        ({"inputs": []}, "case 'c': inputs: expected an object, found list"),
        ({"policy": {"late": 5}}, "policy: there is no setting 'late'"),
        ({"policy": {"policy": "x"}}, "policy.action: expected 'adjust' or 'drop'"),
        ({"functions": {"udf.f": {"kind": "js"}}}, "function 'udf.f': expected kind (one of udf, uda, ml)"),
        (
            {"functions": {"udf.f": {"kind": "udf", "source": "x = 1"}}},
            "expected one function in its source, found none",
        ),
        ({"functions": {"udf.f": {"kind": "udf", "source": "def"}}}, "its source cannot be run: SyntaxError"),
        (
            {"functions": {"udf.f": {"kind": "udf", "language": "javascript", "source": ""}}},
            "only Python runs here, found language 'javascript'",
        ),
    ],
)
def test_what_is_no_case_is_refused_in_a_sentence(change, said):
    with pytest.raises(UserError) as error:
        run_case({"name": "c", "query": "SELECT n FROM src", "inputs": {"src": []}, **change})
    assert said in str(error.value)


def test_a_case_that_must_fail_passes_only_if_it_does_and_says_why():
    refused = {"query": "SELECT UPER(n) AS n FROM src", "inputs": {"src": []}, "expected_error": True}
    assert check_case({**refused, "error_mentions": ["uper", "other"]}) == []
    [wrong] = check_case({**refused, "error_mentions": ["window"]})
    assert str(wrong).startswith(
        "expected an error that mentions 'window'\n   found there is no function UPER"
    )
    [none] = check_case({**refused, "query": "SELECT n FROM src"})
    assert str(none) == "expected an error\n   found 0 rows and no error"
