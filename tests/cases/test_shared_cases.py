"""The conformance cases whose queries need no windows, joins or functions, where the files are at hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace.engine.query import query
from headrace.errors import HeadraceError, QueryError

CASES = Path(__file__).parents[3] / "shared" / "cases"

#: What this engine does not do yet, and what `query` does not take yet.
NOT_YET = "not available yet"
LATER = ("policy", "functions", "metadata", "reference")


def cases() -> list[Any]:
    found = [json.loads(path.read_text()) for path in sorted(CASES.glob("*.json"))]
    return [pytest.param(case, id=case["name"]) for case in found]


def answer(case: Mapping[str, Any]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    if any(case.get(key) for key in LATER):
        pytest.skip("needs what comes later")
    try:
        return query(case["query"], case["inputs"])
    except QueryError as error:
        if NOT_YET in str(error):
            pytest.skip(str(error).splitlines()[0])
        raise


def alike(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        keys = {key for row in (found, expected) for key, value in row.items() if value is not None}
        return all(alike(found.get(key), expected.get(key), tolerance) for key in keys)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(
            alike(one, other, tolerance) for one, other in zip(found, expected, strict=True)
        )
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=tolerance)
    return found == expected or (instant(found) is not None and instant(found) == instant(expected))


def instant(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def differences(case: Mapping[str, Any], output: str, found: Sequence[Mapping[str, Any]]) -> list[str]:
    compare = case.get("compare", {})
    tolerance = compare.get("tolerance_rel", 1e-9)
    expected = list(case["expected"][output])
    if compare.get("extra_columns") == "ignore":
        columns = {name for row in expected for name in row}
        found = [{name: value for name, value in row.items() if name in columns} for row in found]
    missing = []
    rest = list(found)
    for row in expected:
        candidates = rest[:1] if case.get("ordered") else rest
        match = next((other for other in candidates if alike(other, row, tolerance)), None)
        if match is None:
            missing.append(f"missing {row}")
        else:
            rest.remove(match)
    return missing + [f"unexpected {row}" for row in rest]


@pytest.mark.skipif(not CASES.is_dir(), reason="no case files here")
@pytest.mark.parametrize("case", cases())
def test_a_case_gives_the_rows_or_the_error_that_it_says(case: Mapping[str, Any]) -> None:
    if "expected_error" in case:
        with pytest.raises(HeadraceError) as error:
            answer(case)
        assert any(word.lower() in str(error.value).lower() for word in case["error_mentions"])
        return
    found = answer(case)
    for output in case["expected"]:
        assert differences(case, output, found.get(output, [])) == []


def test_the_comparison_finds_a_wrong_a_missing_and_an_extra_row() -> None:
    case = {"expected": {"output": [{"a": 1}, {"a": 2}]}, "ordered": False}
    assert differences(case, "output", [{"a": 2.0, "b": None}, {"a": 1}]) == []
    assert differences(case, "output", [{"a": 2}, {"a": 3}]) == ["missing {'a': 1}", "unexpected {'a': 3}"]
    assert differences(case, "output", [{"a": 2}]) == ["missing {'a': 1}"]
    assert differences(case, "output", [{"a": 1}, {"a": 2}, {"a": 2}]) == ["unexpected {'a': 2}"]
