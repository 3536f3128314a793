"""Run case files: a query, its events, and the rows or the error that it must give.

PATH is a file.json or a folder of them. With --cuts every case also runs one event at a time, seven at
a time, and stopped, saved and restored after every event: the rows must be the same. The exit code is 1 if a
case fails. docs/testing.md has the format.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.cli.main import unexpected
from headrace.cli.options import add_json, plain
from headrace.cli.show import count_text, print_json, print_lines
from headrace.errors import DataError, HeadraceError, UserError
from headrace.testing.cases import CUTS, check_case

_FAILED: Final = DataError.exit_code


@dataclass(frozen=True, slots=True)
class Checked:
    """A case that has run: where it stands, how it was cut, and what was wrong with it."""

    file: Path
    name: str
    cut: str
    differences: Sequence[str]
    confidence: str

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not self.differences


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "test",
        help="run case files: queries with events and the rows that they must give",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a case file, or a folder of them"
    )
    parser.add_argument(
        "--cuts", action="store_true", help="run each case in five ways of cutting its events"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was wrong, or a report; exit code 1 if anything was."""
    cuts = CUTS if arguments.cuts else {"whole": None}
    checked = [
        _checked(file, case, cut, cuts[cut])
        for file in _files(arguments.paths)
        for case in _cases(file)
        for cut in cuts
    ]
    failed = [case for case in checked if not case.passed]
    if arguments.json:
        print_json(_document(checked))
    else:
        print_lines(_lines(failed, len(checked), len({(case.file, case.name) for case in checked})))
    return _FAILED if failed else 0


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not found:
            raise UserError(f"there are no case files (*.json) in {path}")
        yield from found


def _cases(file: Path) -> list[Mapping[str, Any]]:
    """Return the cases of a file: one object, or an array of them."""
    try:
        document = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    cases = document if isinstance(document, list) else [document]
    if not all(isinstance(case, dict) for case in cases):
        raise UserError(f"{file}: a case is a JSON object with query, inputs and expected")
    return cases


def _checked(file: Path, case: Mapping[str, Any], cut: str, cuts: Any) -> Checked:
    try:
        differences = [str(difference) for difference in check_case(case, cuts=cuts)]
    except HeadraceError as error:
        differences = [f"it ended with: {error}"]
    except Exception as error:  # the other cases are run all the same
        differences = [f"it ended with {unexpected(error)}"]
    name, confidence = str(case.get("name") or file.stem), str(case.get("confidence") or "")
    return Checked(file, name, cut, differences, confidence)


def _lines(failed: Sequence[Checked], runs: int, cases: int) -> Iterator[str]:
    for case in failed:
        how = "" if case.cut == "whole" else f", {case.cut}"
        sure = " (medium confidence)" if case.confidence == "medium" else ""
        yield f"FAILED {case.name}{how}{sure}  {case.file}"
        for difference in case.differences:
            for line in difference.splitlines():
                yield f"  {line}"
    names = {(case.file, case.name) for case in failed}
    ran = f"{count_text(cases, 'case')}" + (f" in {runs} runs" if runs > cases else "")
    yield f"{ran}: {len(names)} failed" if failed else f"{ran}: all passed"


def _document(checked: Sequence[Checked]) -> dict[str, Any]:
    return {
        "ok": all(case.passed for case in checked),
        "runs": len(checked),
        "failed": sum(not case.passed for case in checked),
        "cases": [
            {
                "file": str(case.file),
                "name": case.name,
                "cut": case.cut,
                "passed": case.passed,
                "confidence": case.confidence or None,
                "differences": list(case.differences),
            }
            for case in checked
        ],
    }
