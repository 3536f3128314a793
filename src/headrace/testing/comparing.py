"""Comparing the rows of a run with expected ones: what is wrong, missing, too many, or out of order."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

Row = Mapping[str, Any]

#: Relative difference of numbers that are equal, unless a case says otherwise.
TOLERANCE: Final = 1e-9

#: So many missing and extra rows are paired to tell what is wrong in them; more nobody reads.
_PAIRED: Final = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which an output is not as expected.

    A row is ``wrong`` in `columns`, ``missing`` or ``extra``; or the rows are right and their ``order`` is
    wrong; or the query must end in an ``error``. `expected` and `found` are what there is to show.
    """

    output: str
    kind: Literal["wrong", "missing", "extra", "order", "error"]
    expected: Any = None
    found: Any = None
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it in a line or two."""
        match self.kind:
            case "missing":
                return f"{self.output}: missing {_text(self.expected)}"
            case "extra":
                return f"{self.output}: extra   {_text(self.found)}"
            case "error":
                return f"expected {self.expected}\n   found {self.found}"
        where = f" in {', '.join(self.columns)}" if self.columns else ""
        said = f"wrong{where}" if self.kind == "wrong" else "the right rows, in another order, from here on"
        return f"{self.output}: {said}\n  expected {_text(self.expected)}\n     found {_text(self.found)}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How rows are compared; a column that is null counts as absent.

    Numbers are equal by value, up to `tolerance`; texts that are ISO 8601 date-times are equal as instants;
    arrays in the columns `unordered_arrays` are equal in any order. With `ignore_extra` columns that no
    expected row has do not count; with `ordered` the order of rows does.
    """

    ordered: bool = False
    tolerance: float = TOLERANCE
    ignore_extra: bool = False
    unordered_arrays: Collection[str] = ()

    def differences(self, output: str, expected: Sequence[Row], found: Sequence[Row]) -> list[Difference]:
        """Return how `found` differs from `expected`, nothing when it does not."""
        if self.ignore_extra:
            known = {name for row in expected for name in row}
            found = [{name: value for name, value in row.items() if name in known} for row in found]
        missing: list[Row] = []
        extra = list(found)
        for row in expected:
            place = next((at for at, other in enumerate(extra) if not self.unlike(row, other)), None)
            if place is None:
                missing.append(row)
            else:
                del extra[place]
        if missing or extra:
            return self._described(output, missing, extra)
        if self.ordered:
            for row, other in zip(expected, found, strict=True):
                if self.unlike(row, other):
                    return [Difference(output, "order", row, other)]
        return []

    def _described(self, output: str, missing: Sequence[Row], extra: Sequence[Row]) -> list[Difference]:
        """Pair missing rows with the extra ones that are most like them: those are wrong."""
        alike = [
            (len(self.unlike(row, other)), at, other_at)
            for at, row in enumerate(missing[:_PAIRED])
            for other_at, other in enumerate(extra[:_PAIRED])
        ]
        pairs: dict[int, int] = {}
        for _, at, other_at in sorted(alike):
            if at not in pairs and other_at not in pairs.values():
                pairs[at] = other_at
        wrong = [
            Difference(
                output, "wrong", missing[at], extra[other], tuple(self.unlike(missing[at], extra[other]))
            )
            for at, other in sorted(pairs.items())
        ]
        absent = [Difference(output, "missing", row) for at, row in enumerate(missing) if at not in pairs]
        surplus = [
            Difference(output, "extra", found=row) for at, row in enumerate(extra) if at not in pairs.values()
        ]
        return [*wrong, *absent, *surplus]

    def unlike(self, expected: Row, found: Row) -> list[str]:
        """Return the columns in which two rows differ."""
        names = dict.fromkeys((*_present(expected), *_present(found)))
        return [name for name in names if not self._same_column(name, expected.get(name), found.get(name))]

    def _same_column(self, name: str, expected: Any, found: Any) -> bool:
        if name in self.unordered_arrays and isinstance(expected, list) and isinstance(found, list):
            rest = list(found)
            for item in expected:
                at = next((at for at, other in enumerate(rest) if self._same(item, other)), None)
                if at is None:
                    return False
                del rest[at]
            return not rest
        return self._same(expected, found)

    def _same(self, expected: Any, found: Any) -> bool:
        if isinstance(expected, Mapping) and isinstance(found, Mapping):
            names = _present(expected) | _present(found)
            return all(self._same(expected.get(name), found.get(name)) for name in names)
        if isinstance(expected, list) and isinstance(found, list):
            return len(expected) == len(found) and all(map(self._same, expected, found))
        if isinstance(expected, int) and isinstance(found, int) and self.tolerance <= TOLERANCE:
            return expected == found
        if isinstance(expected, int | float) and isinstance(found, int | float):
            return math.isclose(expected, found, rel_tol=self.tolerance)
        if expected == found:
            return True
        instant = _instant(expected)
        return instant is not None and instant == _instant(found)


def _present(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _instant(value: Any) -> datetime | None:
    if not isinstance(value, str | datetime):
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    moment: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
    return moment


def _text(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, default=str)
