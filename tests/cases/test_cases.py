"""The conformance cases, each plain and with its events cut in every way: always the rows that it says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from headrace.engine.finite import ARRIVAL
from headrace.errors import HeadraceError
from headrace.sql.bind import bind
from headrace.sql.plan import ColumnRef, Expression, Relation, children, scans
from headrace.sql.reading import columns_read
from headrace.testing import check_case, run_case
from headrace.testing.cases import CUTS
from headrace.testing.comparing import Comparison

FOLDERS = [Path(__file__).parents[3] / "shared" / "cases", Path(__file__).parent / "data"]

WAYS = [way for way, cuts in CUTS.items() if cuts is not None]


def cases() -> list[Any]:
    found = [json.loads(path.read_text()) for folder in FOLDERS for path in sorted(folder.glob("*.json"))]
    return [pytest.param(case, id=case["name"]) for case in found]


@pytest.mark.parametrize("case", cases())
def test_a_case_gives_the_rows_or_the_error_that_it_says(case: Mapping[str, Any]) -> None:
    assert "\n".join(map(str, check_case(case))) == ""


@pytest.mark.parametrize("case", cases())
def test_what_a_query_does_not_read_of_its_events_changes_no_row(case: Mapping[str, Any]) -> None:
    try:
        plain = run_case(case)
    except HeadraceError:
        return
    functions = case.get("functions", {})
    aggregates = [name for name, said in functions.items() if said["kind"] == "uda"]
    others = functions.keys() - set(aggregates)
    script = bind(
        case["query"], functions=others, aggregates=aggregates, references=list(case.get("reference", {}))
    )
    read = columns_read(script)
    if read is None:
        return
    kept = {ARRIVAL.casefold(), *read, *(name for scan in scans(script) for name in _columns(scan))}
    inputs = {
        name: [{key: value for key, value in event.items() if key.casefold() in kept} for event in events]
        for name, events in case["inputs"].items()
    }
    same = Comparison(ordered=True)
    found = run_case({**case, "inputs": inputs})
    assert [same.differences(output, plain[output], found[output]) for output in plain] == [[]] * len(plain)


def _columns(node: Expression | Relation) -> Iterator[str]:
    if isinstance(node, ColumnRef):
        yield node.name.casefold()
    for child in children(node):
        yield from _columns(child)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", cases())
def test_a_case_gives_the_same_rows_in_the_same_order_however_its_events_are_cut(
    case: Mapping[str, Any], way: str
) -> None:
    try:
        plain = run_case(case)
    except HeadraceError as error:
        with pytest.raises(type(error)):
            run_case(case, cuts=CUTS[way])
        return
    found = run_case(case, cuts=CUTS[way])
    assert list(found) == list(plain)
    same = Comparison(ordered=True)
    wrong = [
        difference
        for output in plain
        for difference in same.differences(output, plain[output], found[output])
    ]
    assert "\n".join(map(str, wrong)) == ""
