"""What a script does, as a tree to read: its outputs, steps, windows, rules of time, and the state kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from headrace.sql.durations import UNITS_US
from headrace.sql.plan import (
    Aggregate,
    AllColumns,
    Analytic,
    AnalyticCall,
    Apply,
    Effect,
    Expression,
    Filter,
    Hopping,
    Item,
    Join,
    Match,
    Partition,
    Project,
    Qualified,
    ReferenceJoin,
    Relation,
    Scan,
    Script,
    Session,
    Sliding,
    Snapshot,
    StepRef,
    TimeBound,
    Union,
    Window,
)

#: Characters of an expression that a line shows.
_SHOWN_CHARS: Final = 80

#: Aggregates that must keep what they saw, not a partial result.
_KEEPING: Final = frozenset({"COLLECT", "PERCENTILE_CONT", "PERCENTILE_DISC"})

_UNITS: Final = (("d", "day"), ("h", "hour"), ("min", "minute"), ("s", "second"), ("ms", "millisecond"))


@dataclass(frozen=True, slots=True)
class Explained:
    """One line of the tree: what is done, what is kept for it, the rule of time, and what it is done to."""

    what: str
    state: str = ""
    time: str = ""
    sources: tuple[Explained, ...] = ()


def explain(script: Script) -> list[Explained]:
    """Return a tree for each WITH step and each output, in the order of the script."""
    writer = _Writer(script.text)
    trees = [
        Explained(f"step {step.name}", sources=(writer.relation(step.relation),)) for step in script.steps
    ]
    for output in script.outputs:
        to = f"output {output.name}{writer.partition(output.partition)}"
        trees.append(Explained(to, sources=(writer.relation(output.relation),)))
    return trees


def length_text(length_us: int) -> str:
    """Return a length of time in its largest whole unit: ``90 s``, ``5 min``."""
    for short, unit in _UNITS:
        if length_us % UNITS_US[unit] == 0:
            return f"{length_us // UNITS_US[unit]} {short}"
    return f"{length_us} us"


class _Writer:
    """Describes the relations of one script."""

    def __init__(self, text: str) -> None:
        self._text = text

    def relation(self, relation: Relation) -> Explained:
        """Return the tree of a relation."""
        sources = tuple(self.relation(source) for source in _sources(relation))
        match relation:
            case Scan():
                return Explained(
                    f"read {relation.input}{self.partition(relation.partition)}", "", self._time(relation)
                )
            case StepRef():
                return Explained(f"rows of step {relation.step}{self.partition(relation.partition)}")
            case Filter():
                return Explained(f"keep rows where {self._short(relation.predicate)}", sources=sources)
            case Project():
                return Explained(f"select {', '.join(map(self._item, relation.items))}", sources=sources)
            case Union():
                return Explained("union, duplicates kept", sources=sources)
            case Effect():
                called = dict.fromkeys(call.function for call in relation.calls)
                return Explained(f"call {', '.join(called)}, in blocks of rows", sources=sources)
            case Aggregate():
                return self._aggregate(relation, sources)
            case Analytic():
                return self._analytic(relation, sources)
            case Match():
                return self._match(relation, sources)
        return self._several(relation, sources)

    def _several(
        self, relation: Qualified | Join | ReferenceJoin | Apply, sources: tuple[Explained, ...]
    ) -> Explained:
        """Return the tree of what makes rows of several sources."""
        match relation:
            case Qualified():
                [source] = sources
                return replace(source, what=f"{source.what}, as {relation.name}")
            case Join():
                return self._join(relation, sources)
            case ReferenceJoin():
                how = "left join" if relation.outer else "join"
                what = f"{how} reference data {relation.reference}"
                what += self._on(relation.equal, relation.condition)
                return Explained(
                    what, f"all of {relation.reference}", "the data of the event's time", sources
                )
            case Apply():
                kind = "keeping rows without any" if relation.outer else "dropping rows without any"
                what = f"a row per element of {self._short(relation.operand)} as {relation.name}, {kind}"
                return Explained(what, sources=sources)

    def partition(self, partition: Partition | None) -> str:
        """Return PARTITION BY as it is shown behind a source."""
        if partition is None:
            return ""
        into = f" into {partition.count}" if partition.count else ""
        return f", partitioned by {self._list(partition.keys)}{into}"

    def _time(self, scan: Scan) -> str:
        if scan.timestamp is None:
            return "the arrival of each event"
        over = f", a time of its own for each {self._list(scan.over)}" if scan.over else ""
        return f"{self._short(scan.timestamp)}{over}"

    # --- windows ------------------------------------------------------------------------------------------

    def _aggregate(self, relation: Aggregate, sources: tuple[Explained, ...]) -> Explained:
        keys = [self._short(key.expression) for key in relation.keys]
        windows = [self._window(window) for window in relation.windows]
        calls = ", ".join(self._span(call.span.start, call.span.end) for call in relation.calls)
        what = f"group by {', '.join([*keys, *windows])}" + (f": {calls}" if calls else "")
        return Explained(what, self._kept(relation), "the end of the window", sources)

    def _window(self, window: Window) -> str:
        name = f" '{window.id}'" if window.id else ""
        match window:
            case Hopping(size_us=size, hop_us=hop, offset_us=offset):
                moved = f", moved by {length_text(offset)}" if offset else ""
                kind = f"tumbling windows{name} of {length_text(size)}"
                if size != hop:
                    kind = f"hopping windows{name} of {length_text(size)} every {length_text(hop)}"
                return kind + moved
            case Sliding(size_us=size):
                return f"sliding windows{name} of {length_text(size)}"
            case Session(timeout_us=timeout, longest_us=longest, keys=keys):
                per = f" for each {self._list(keys)}" if keys else ""
                return f"sessions{name}{per}, {length_text(timeout)} apart, {length_text(longest)} long"
            case Snapshot():
                return f"the instant{name}"

    def _kept(self, relation: Aggregate) -> str:
        users = any(call.user or call.distinct or call.function in _KEEPING for call in relation.calls)
        kept = "the values" if users else "partial results"
        group = "open window and group" if relation.keys else "open window"
        if any(isinstance(window, Sliding) for window in relation.windows):
            longest = max(w.size_us for w in relation.windows if isinstance(w, Sliding))
            return f"the values of the last {length_text(longest)}"
        return f"{kept} of each {group}"

    def _analytic(self, relation: Analytic, sources: tuple[Explained, ...]) -> Explained:
        calls = ", ".join(self._span(call.call.span.start, call.call.span.end) for call in relation.calls)
        kept = dict.fromkeys(self._looked_back(call) for call in relation.calls)
        return Explained(f"for each row: {calls}", "; ".join(kept), "unchanged", sources)

    def _looked_back(self, call: AnalyticCall) -> str:
        per = f" of each {self._list(call.partition)}" if call.partition else ""
        if call.limit_us is None:
            return f"the interval{per} at hand"
        if call.call.function in ("LAG", "LAST"):
            rows = max(1, int(call.call.parameters[0]))
            return f"the last {rows}{per}, of {length_text(call.limit_us)} at most"
        return f"the values{per} of the last {length_text(call.limit_us)}"

    # --- joins --------------------------------------------------------------------------------------------

    def _join(self, relation: Join, sources: tuple[Explained, ...]) -> Explained:
        bounds = " and ".join(map(self._bound, relation.bounds))
        what = f"{'left join' if relation.outer else 'join'} within {bounds}"
        what += self._on(relation.equal, relation.condition)
        kept = "both sides' rows, as long as a partner can come"
        time = "the later of both"
        if relation.outer:
            time += "; without a partner, the end of the wait"
        return Explained(what, kept, time, sources)

    def _bound(self, bound: TimeBound) -> str:
        unit = length_text(bound.unit_us).removeprefix("1 ")
        return f"{bound.low}..{bound.high} {unit}"

    def _on(self, equal: Sequence[tuple[Expression, Expression]], rest: Expression | None) -> str:
        parts = [f"{self._short(left)} = {self._short(right)}" for left, right in equal]
        if rest is not None:
            parts.append(self._short(rest))
        return f" on {' and '.join(parts)}" if parts else ""

    def _match(self, relation: Match, sources: tuple[Explained, ...]) -> Explained:
        per = f" of each {', '.join(item.name for item in relation.partition)}" if relation.partition else ""
        what = f"match a pattern among events{per} within {length_text(relation.limit_us)}"
        measures = ", ".join(item.name for item in relation.measures)
        return Explained(f"{what}: {measures}", "matches begun", "the last event of the match", sources)

    # --- text ---------------------------------------------------------------------------------------------

    def _item(self, item: Item | AllColumns) -> str:
        if isinstance(item, Item):
            return item.name
        return self._span(item.span.start, item.span.end)

    def _list(self, expressions: Sequence[Expression]) -> str:
        return ", ".join(map(self._short, expressions))

    def _short(self, expression: Expression) -> str:
        return self._span(expression.span.start, expression.span.end)

    def _span(self, start: int, end: int) -> str:
        written = " ".join(self._text[start:end].split())
        return written if len(written) <= _SHOWN_CHARS else f"{written[:_SHOWN_CHARS]}..."


def _sources(relation: Relation) -> Iterator[Relation]:
    """Yield the relations that one is made of, in order."""
    match relation:
        case Union():
            yield from relation.sources
        case Join():
            yield relation.left
            yield relation.right
        case ReferenceJoin():
            yield relation.left
        case Scan() | StepRef():
            pass
        case _:
            yield relation.source
