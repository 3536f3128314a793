"""Calls of models and functions: made below the operator that uses them, once, and only where needed.

The property test runs hoisted plans row by row and compares rows and calls with an interpreter of the
script's own words, which evaluates lazily from left to right and knows nothing of plans.
"""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.sql.bind import bind
from headrace.sql.plan import (
    Binary,
    Call,
    Case,
    ColumnRef,
    Effect,
    Filter,
    In,
    IsNull,
    Literal,
    Project,
    Scan,
    Unary,
)
from tests.unit.plan_text import script_text

FUNCTIONS = ("f", "g", "classify")


def plan(script):
    """The plan of a script's last output, one operator a line from the top."""
    return (
        script_text(bind(script, functions=FUNCTIONS))
        .split("output output\n")[-1]
        .replace("  ", "")
        .splitlines()
    )


# --- single rules ------------------------------------------------------------------------------------------


def test_a_call_in_the_select_list_is_made_below_the_list():
    assert plan("SELECT a, classify(doc) AS c FROM i") == [
        "project [a] a, [c] @call0",
        "effect @call0 = classify(doc)",
        "scan i",
    ]


def test_a_property_of_a_result_is_read_from_its_column():
    assert plan("SELECT classify(doc).best AS best, classify(doc).scores.x FROM i") == [
        "project [best] @call0.best, [x] @call0.scores.x",
        "effect @call0 = classify(doc)",
        "scan i",
    ]


def test_what_the_list_alone_calls_is_called_for_the_rows_that_where_leaves():
    assert plan("SELECT f(a) AS x FROM i WHERE b > 1") == [
        "project [x] @call0",
        "effect @call0 = f(a)",
        "filter (b > 1)",
        "scan i",
    ]


def test_a_call_in_where_and_in_the_list_is_made_once():
    assert plan("SELECT classify(doc).second AS s FROM i WHERE classify(doc).best = 'x'") == [
        "project [s] @call0.second",
        "filter (@call0.best = 'x')",
        "effect @call0 = classify(doc)",
        "scan i",
    ]


def test_what_where_asks_without_a_call_is_asked_first():
    assert plan("SELECT a FROM i WHERE f(a) = 1 AND year > 2020 AND a IS NOT NULL") == [
        "project [a] a",
        "filter (@call0 = 1)",
        "effect @call0 = f(a)",
        "filter ((year > 2020) AND (NOT (a IS NULL)))",
        "scan i",
    ]


@pytest.mark.parametrize("unsafe", ["CAST(b AS bigint) > 1", "b + c > 1", "LEFT(b, c) = 'x'", "a > 1"])
def test_a_condition_that_a_call_to_its_left_may_guard_stays_behind_it(unsafe):
    [_, last, *_] = plan(f"SELECT a FROM i WHERE f(a) = 1 AND {unsafe}")
    assert last.startswith("filter ((@call0 = 1) AND ")


def test_calls_in_where_are_made_one_condition_after_the_other():
    assert plan("SELECT a FROM i WHERE f(a) = 1 AND g(b) = 2 AND f(a) < 3") == [
        "project [a] a",
        "filter ((@call1 = 2) AND (@call0 < 3))",
        "effect @call1 = g(b)",
        "filter (@call0 = 1)",
        "effect @call0 = f(a)",
        "scan i",
    ]


def test_a_call_in_the_arguments_of_another_is_made_below_it():
    assert plan("SELECT f(g(a)).x AS x, g(a) AS y FROM i") == [
        "project [x] @call1.x, [y] @call0",
        "effect @call1 = f(@call0)",
        "effect @call0 = g(a)",
        "scan i",
    ]


def test_independent_calls_share_an_effect():
    assert plan("SELECT f(a) AS x, g(b) AS y, f(b) AS z FROM i")[1] == (
        "effect @call0 = f(a); @call1 = g(b); @call2 = f(b)"
    )


def test_a_branch_of_case_is_called_where_it_is_taken():
    assert plan("SELECT CASE WHEN a = 1 THEN f(b) WHEN a = 2 THEN g(b) ELSE f(c) END AS x FROM i")[1] == (
        "effect @call0 = f(b) when (a = 1); "
        "@call1 = g(b) when (CASE WHEN (a = 1) THEN False ELSE True END AND (a = 2)); "
        "@call2 = f(c) when CASE WHEN (a = 1) THEN False WHEN (a = 2) THEN False ELSE True END"
    )


def test_a_condition_of_case_with_a_call_is_asked_before_its_branch():
    assert plan("SELECT CASE WHEN f(a) = 1 THEN g(a) END AS x FROM i") == [
        "project [x] CASE WHEN (@call0 = 1) THEN @call1 ELSE NULL END",
        "effect @call1 = g(a) when (@call0 = 1)",
        "effect @call0 = f(a)",
        "scan i",
    ]


def test_coalesce_calls_only_where_what_stands_before_is_null():
    assert plan("SELECT COALESCE(a, f(b), g(c)) AS x FROM i")[1:3] == [
        "effect @call1 = g(c) when ((a IS NULL) AND (@call0 IS NULL))",
        "effect @call0 = f(b) when (a IS NULL)",
    ]


def test_or_calls_only_where_the_rest_leaves_it_open():
    assert plan("SELECT a FROM i WHERE f(a) = 1 OR b = 2")[2] == (
        "effect @call0 = f(a) when CASE WHEN (b = 2) THEN False ELSE True END"
    )


def test_a_call_needed_under_two_conditions_is_made_once_under_either():
    written = "SELECT CASE WHEN a = 1 THEN f(b) END AS x, CASE WHEN c = 1 THEN f(b) END AS y FROM i"
    assert plan(written)[1] == "effect @call0 = f(b) when ((a = 1) OR (c = 1))"


def test_a_call_that_where_made_for_some_rows_is_made_for_the_others_later():
    assert plan("SELECT f(a) AS x FROM i WHERE b = 2 OR f(a) = 1") == [
        "project [x] CASE WHEN CASE WHEN (b = 2) THEN False ELSE True END THEN @call0 ELSE @call1 END",
        "effect @call1 = f(a) when "
        "CASE WHEN CASE WHEN (b = 2) THEN False ELSE True END THEN False ELSE True END",
        "filter ((b = 2) OR (@call0 = 1))",
        "effect @call0 = f(a) when CASE WHEN (b = 2) THEN False ELSE True END",
        "scan i",
    ]


def test_hidden_columns_are_numbered_through_the_script():
    text = script_text(
        bind(
            "WITH s AS (SELECT f(a) AS x FROM i) "
            "SELECT f(x) AS y INTO p FROM s UNION SELECT g(x) AS y FROM s "
            "SELECT g(x) AS z INTO q FROM s",
            functions=FUNCTIONS,
        )
    )
    assert [f"@call{number} = " in text for number in range(5)] == [True] * 4 + [False]


def test_a_call_may_give_the_record_of_a_star():
    assert plan("SELECT classify(doc).* FROM i")[:2] == ["project @call0.*", "effect @call0 = classify(doc)"]


def test_a_script_without_calls_has_no_effects():
    assert "effect" not in script_text(bind("SELECT a FROM i WHERE b = 1", functions=FUNCTIONS))


# --- against an interpreter of the words -------------------------------------------------------------------

ROWS = [{"a": a, "b": b, "c": c} for a in (None, 0, 1) for b in (None, 0, 1) for c in (2,)]


def called(name, argument):
    """What the two functions give; NULL comes and goes."""
    if argument is None:
        return 5 if name == "f" else None
    return (argument * 2 + 1) % 3 if name == "f" else [None, 0, 1, 2][argument % 4]


def made_value(random, depth):
    """A random value of the language as nested tuples."""
    kinds = ["leaf", "leaf", "f", "f", "f", "g", "g", "coalesce", "case", "simple", "+"]
    kind = random.choice(kinds if depth else ["leaf"])
    match kind:
        case "leaf":
            return random.choice(["a", "b", "c", "NULL", 0, 1, 2])
        case "case":
            parts = [made_condition, made_value, made_condition, made_value, made_value]
        case _:
            parts = [made_value] * {"f": 1, "g": 1, "coalesce": 2, "simple": 4, "+": 2}[kind]
    return (kind, *(part(random, depth - 1) for part in parts))


def made_condition(random, depth):
    kinds = ["=", "<", "null", "not", "not", "and", "and", "and", "or", "or", "in", "between"]
    kind = random.choice(kinds if depth else ["=", "<", "null"])
    if kind in ("not", "and", "or"):
        return (kind, *(made_condition(random, depth - 1) for _ in range(1 if kind == "not" else 2)))
    count = {"null": 1, "in": 3, "between": 3}.get(kind, 2)
    return (kind, *(made_value(random, max(0, depth - 1)) for _ in range(count)))


def words(node):
    match node:
        case str() | int():
            return str(node)
        case ("f" | "g" as name, argument):
            return f"{name}({words(argument)})"
        case ("coalesce", first, second):
            return f"COALESCE({words(first)}, {words(second)})"
        case ("case", when, then, when2, then2, otherwise):
            branches = f"WHEN {words(when)} THEN {words(then)} WHEN {words(when2)} THEN {words(then2)}"
            return f"CASE {branches} ELSE {words(otherwise)} END"
        case ("simple", operand, value, then, otherwise):
            return f"CASE {words(operand)} WHEN {words(value)} THEN {words(then)} ELSE {words(otherwise)} END"
        case ("null", operand):
            return f"({words(operand)} IS NULL)"
        case ("not", operand):
            return f"(NOT {words(operand)})"
        case ("in", operand, *items):
            return f"({words(operand)} IN ({', '.join(map(words, items))}))"
        case ("between", operand, low, high):
            return f"({words(operand)} BETWEEN {words(low)} AND {words(high)})"
        case (operator, left, right):
            return f"({words(left)} {operator.upper()} {words(right)})"


def compared(operator, left, right):
    if left is None or right is None:
        return None
    return {"=": left == right, "<": left < right, "<=": left <= right, ">=": left >= right}[operator]


def both(left, right):
    return False if left is False or right is False else None if left is None or right is None else True


def either(left, right):
    return True if left is True or right is True else None if left is None or right is None else False


class Lazy:
    """Evaluates words on one row from left to right, no further than needed, and notes its calls."""

    def __init__(self, row):
        self.row, self.calls = row, {}

    def value(self, node):
        match node:
            case "NULL":
                return None
            case str():
                return self.row[node]
            case int():
                return node
            case ("f" | "g" as name, argument):
                if node not in self.calls:
                    self.calls[node] = called(name, self.value(argument))
                return self.calls[node]
            case ("coalesce", first, second):
                found = self.value(first)
                return self.value(second) if found is None else found
            case ("case", when, then, when2, then2, otherwise):
                if self.truth(when):
                    return self.value(then)
                return self.value(then2) if self.truth(when2) else self.value(otherwise)
            case ("simple", operand, value, then, otherwise):
                same = compared("=", self.value(operand), self.value(value))
                return self.value(then) if same else self.value(otherwise)
            case ("+", left, right):
                parts = self.value(left), self.value(right)
                return None if None in parts else sum(parts)

    def truth(self, node):
        match node:
            case ("null", operand):
                return self.value(operand) is None
            case ("not", operand):
                found = self.truth(operand)
                return None if found is None else not found
            case ("and", left, right):
                found = self.truth(left)
                return False if found is False else both(found, self.truth(right))
            case ("or", left, right):
                found = self.truth(left)
                return True if found is True else either(found, self.truth(right))
            case ("in", operand, first, second):
                operand, first, second = self.value(operand), self.value(first), self.value(second)
                return either(compared("=", operand, first), compared("=", operand, second))
            case ("between", operand, low, high):
                operand, low, high = self.value(operand), self.value(low), self.value(high)
                return both(compared(">=", operand, low), compared("<=", operand, high))
            case (operator, left, right):
                return compared(operator, self.value(left), self.value(right))


def evaluated(node, row):
    """Evaluate a bound expression on one row, all of it."""
    match node:
        case Literal(value):
            return value
        case ColumnRef(name):
            return row[name]
        case Case(branches, otherwise):
            for when, then in branches:
                if evaluated(when, row) is True:
                    return evaluated(then, row)
            return evaluated(otherwise, row)
        case Call("COALESCE", arguments):
            return next((found for item in arguments if (found := evaluated(item, row)) is not None), None)
    return _truth(node, row)


def _truth(node, row):
    match node:
        case Unary("NOT", operand):
            found = evaluated(operand, row)
            return None if found is None else not found
        case IsNull(operand):
            return evaluated(operand, row) is None
        case In(operand, items):
            result = False
            for item in items:
                result = either(result, compared("=", evaluated(operand, row), evaluated(item, row)))
            return result
        case Binary(operator, left, right):
            left, right = evaluated(left, row), evaluated(right, row)
            if operator in ("AND", "OR"):
                return both(left, right) if operator == "AND" else either(left, right)
            if operator == "+":
                return None if left is None or right is None else left + right
            return compared(operator, left, right)


def rows_of(relation, made):
    """Run a relation over ROWS; `made` counts the calls by row."""
    match relation:
        case Scan():
            return [{**row, "@row": number} for number, row in enumerate(ROWS)]
        case Filter(source, predicate):
            return [row for row in rows_of(source, made) if evaluated(predicate, row) is True]
        case Effect(source, calls):
            rows = rows_of(source, made)
            for row in rows:
                results = {}
                for call in calls:
                    assert call.column not in row
                    needed = call.when is None or evaluated(call.when, row) is True
                    results[call.column] = None
                    if needed:
                        arguments = [evaluated(argument, row) for argument in call.arguments]
                        results[call.column] = called(call.function, *arguments)
                        made[row["@row"]] += 1
                row.update(results)
            return rows
        case Project(source, items):
            return [
                {item.name: evaluated(item.expression, row) for item in items}
                for row in rows_of(source, made)
            ]


def check(where, *items):
    """The hoisted plan of a SELECT gives the lazy interpreter's rows, with no call that it does not make."""
    listed = ", ".join(f"{words(item)} AS x{number}" for number, item in enumerate(items))
    script = f"SELECT {listed} FROM i WHERE {words(where)}"
    [output] = bind(script, functions=("f", "g")).outputs
    made = Counter()
    rows = rows_of(output.relation, made)
    expected = []
    for number, row in enumerate(ROWS):
        lazy = Lazy(row)
        if lazy.truth(where) is True:
            expected.append({f"x{number}": lazy.value(item) for number, item in enumerate(items)})
        assert made[number] <= len(lazy.calls), script
    assert rows == expected, script


@settings(max_examples=800, deadline=None)
@given(st.integers(0, 2**32))
def test_hoisted_plans_give_the_same_rows_with_no_call_too_many(seed):
    random = Random(seed)
    where = made_condition(random, random.randint(1, 4))
    check(where, *(made_value(random, random.randint(0, 3)) for _ in range(2)))


def only_if(condition, value):
    return ("case", condition, value, ("=", 0, 1), 0, "NULL")


def test_a_call_behind_an_unknown_and_is_made_where_not_could_turn_it():
    check(("not", ("and", ("=", "a", 1), ("=", ("g", "b"), 1))), ("g", "b"))


def test_a_call_of_a_call_is_not_widened_to_rows_where_the_inner_one_has_another_column():
    inner, outer, other = ("g", "b"), ("f", ("g", "b")), ("f", "c")
    check(
        ("=", 1, 1),
        only_if(("=", "a", 1), inner),
        other,
        only_if(("=", "a", 1), outer),
        only_if(("=", other, 2), outer),
    )


def test_a_call_made_in_where_for_some_rows_is_widened_in_the_list_only_for_the_others():
    call = ("f", "c")
    where = ("or", ("=", "a", 1), ("and", ("null", "b"), ("=", call, 2)))
    check(where, only_if(("=", "b", 1), call), only_if(("=", "c", 2), call))
