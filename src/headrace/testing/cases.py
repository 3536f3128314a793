"""Conformance cases: a query, its inputs and the rows that it must give, as one JSON object.

The fields: ``query``; ``inputs``, a name and its events in the order of their arrival; ``reference``, a name
and its rows; ``policy`` (``late_seconds``, ``out_of_order_seconds``, ``policy``: adjust or drop);
``functions``, a name and its ``kind`` (udf, uda, ml), Python ``source`` and ``batch``; ``metadata``, an input
and a record per event; ``expected``, an output and its rows, with ``ordered`` and ``compare``
(``tolerance_rel``, ``extra_columns``, ``unordered_arrays``); or ``expected_error``, with ``error_mentions``,
of which the message must hold one.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.engine.finite import Cuts
from headrace.engine.given import Function
from headrace.engine.query import Answer, query_in_pieces
from headrace.errors import HeadraceError, UserError, did_you_mean
from headrace.events.formats.json import encode_rows
from headrace.events.watermark import Policy
from headrace.models.aggregate import is_aggregate
from headrace.models.python import PythonFunction
from headrace.testing.comparing import TOLERANCE, Comparison, Difference

Case = Mapping[str, Any]
Rows = list[dict[str, Any]]

#: The ways to cut the events of a case; each must give the same rows.
CUTS: Final[Mapping[str, Cuts | None]] = {
    "whole": None,
    "one event at a time": Cuts(1),
    "seven events at a time": Cuts(7),
    "all events, then the end": Cuts(1_000_000_000),
    "saved and restored after every event": Cuts(1, restarting=True),
}

_KINDS: Final = ("udf", "uda", "ml")
_POLICY: Final = {
    "late_seconds": "late_seconds",
    "out_of_order_seconds": "out_of_order_seconds",
    "policy": "action",
}


def run_case(case: Case, *, cuts: Cuts | None = None) -> dict[str, Rows]:
    """Return the rows of each output of a case, as a JSON output writes them; silent outputs have none.

    ``expected`` is not looked at. Raises the UserError or DataError that a user of the query would get, and
    UserError for what is no case. `cuts` cuts the events into slices, which must not change a row.
    """
    answer = query_in_pieces(
        _member(case, "query", str),
        _member(case, "inputs", Mapping),
        reference=_member(case, "reference", Mapping, {}),
        functions={
            name: _function(name, said) for name, said in _member(case, "functions", Mapping, {}).items()
        },
        policy=_policy(case),
        metadata=_member(case, "metadata", Mapping, {}),
        cuts=cuts,
    )
    return {output: _rows(answer, output) for output in answer}


def differences(case: Case, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Difference]:
    """Return how the rows of a run differ from what `case` expects; nothing where they do not."""
    expected = _member(case, "expected", Mapping)
    compare = _member(case, "compare", Mapping, {})
    comparison = Comparison(
        ordered=bool(case.get("ordered")),
        tolerance=compare.get("tolerance_rel", TOLERANCE),
        ignore_extra=compare.get("extra_columns") == "ignore",
        unordered_arrays=compare.get("unordered_arrays", ()),
    )
    outputs = dict.fromkeys((*expected, *found))
    return [
        difference
        for output in outputs
        for difference in comparison.differences(output, expected.get(output, ()), found.get(output, ()))
    ]


def check_case(case: Case, *, cuts: Cuts | None = None) -> list[Difference]:
    """Run a case and return how it differs from what it expects, be that rows or an error.

    Raises the error of a query that should have given rows.
    """
    if "expected_error" not in case:
        return differences(case, run_case(case, cuts=cuts))
    mentions = [str(word) for word in case.get("error_mentions") or ()]
    wanted = "an error that mentions " + " or ".join(map(repr, mentions)) if mentions else "an error"
    try:
        found = run_case(case, cuts=cuts)
    except HeadraceError as error:
        said = str(error)
        if not mentions or any(word.casefold() in said.casefold() for word in mentions):
            return []
        return [Difference("", "error", wanted, said)]
    rows = sum(map(len, found.values()))
    return [Difference("", "error", wanted, f"{rows} row{'' if rows == 1 else 's'} and no error")]


def _rows(answer: Answer, output: str) -> Rows:
    return [msgspec.json.decode(line) for line in encode_rows(answer.batches[output])]


def _member(case: Case, name: str, kind: type, default: Any = None) -> Any:
    """Return a field of a case; a missing one is `default`, where there is one."""
    value = case.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind):
        wanted = "a text" if kind is str else "an object"
        found = "nothing" if value is None else type(value).__name__
        raise UserError(f"case {case.get('name', '')!r}: {name}: expected {wanted}, found {found}")
    return value


def _policy(case: Case) -> Policy | None:
    said = _member(case, "policy", Mapping, {})
    if unknown := next((name for name in said if name not in _POLICY), None):
        raise UserError(f"policy: there is no setting {unknown!r}. {did_you_mean(unknown, _POLICY)}".rstrip())
    return (
        Policy(**{_POLICY[name]: value for name, value in said.items()})
        if case.get("policy") is not None
        else None
    )


# --- functions --------------------------------------------------------------------------------------------


def _function(name: str, said: Any) -> Function:
    """Return the function that a case declares by its source."""
    if not isinstance(said, Mapping) or said.get("kind") not in _KINDS or "source" not in said:
        raise UserError(f"function {name!r}: expected kind (one of {', '.join(_KINDS)}) and source")
    if said.get("language", "python") != "python":
        raise UserError(f"function {name!r}: only Python runs here, found language {said['language']!r}")
    found = _defined(name, str(said["source"]), aggregate=said["kind"] == "uda")
    return PythonFunction(name, found, batch=True) if said.get("batch") else found


def _defined(name: str, source: str, *, aggregate: bool) -> Callable[..., Any]:
    """Return the one function or aggregate class of `source`; among several, the one called like `name`."""
    module = types.ModuleType(f"function {name}")
    try:
        exec(compile(source, module.__name__, "exec"), module.__dict__)  # noqa: S102 - the case's own code
    except Exception as error:
        raise UserError(
            f"function {name!r}: its source cannot be run: {type(error).__name__}: {error}"
        ) from None
    own = {
        key: value
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and (is_aggregate(value) if aggregate else isinstance(value, types.FunctionType))
    }
    last = name.rpartition(".")[2]
    if last in own or len(own) == 1:
        return own.get(last) or next(iter(own.values()))  # type: ignore[no-any-return]
    wanted = "class with accumulate" if aggregate else "function"
    found = ", ".join(own) or "none"
    raise UserError(f"function {name!r}: expected one {wanted} in its source, found {found}")
