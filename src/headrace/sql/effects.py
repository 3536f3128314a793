"""The planner's pass that takes calls of models and functions out of expressions.

Every UserCall becomes a hidden column that an Effect makes below the operator that uses it. A call is made
once per row however often it is written, and only for rows that need its value:

- WHERE is cut at its ANDs. What holds no call is filtered first where that is safe, then one condition after
  the other, each call made only for the rows that are left. What the SELECT list alone calls comes last.
- A call in a CASE branch, behind AND or OR, or behind another argument of COALESCE carries the condition,
  `when`, under which its value is looked at.
- A call in the arguments, or in the condition, of another is made in an Effect below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

from headrace.errors import QueryError
from headrace.events.batch import HIDDEN, ValueType
from headrace.limits import MAX_QUERY_CALLS, MAX_QUERY_NODES
from headrace.sql.guards import columns, guards_first, holds_call, size
from headrace.sql.logic import Connective, joined, mapped, operands
from headrace.sql.plan import (
    Aggregate,
    AllColumns,
    Analytic,
    Apply,
    Binary,
    Call,
    Case,
    ColumnRef,
    Effect,
    EffectCall,
    Expression,
    Filter,
    IsNull,
    Item,
    Join,
    Literal,
    Match,
    Project,
    Qualified,
    ReferenceJoin,
    Relation,
    Scan,
    Script,
    Session,
    StepRef,
    Unary,
    Union,
    UserCall,
)

_TRUE: Final = Literal(True, ValueType.BIT)
_FALSE: Final = Literal(False, ValueType.BIT)


def hoisted(script: Script) -> Script:
    """Return `script` with every UserCall made by an Effect."""
    if not script.functions:
        return script
    planner = _Planner(script.text)
    steps = tuple(replace(step, relation=planner.relation(step.relation)) for step in script.steps)
    outputs = tuple(replace(output, relation=planner.relation(output.relation)) for output in script.outputs)
    return replace(script, steps=steps, outputs=outputs)


@dataclass(slots=True)
class _Site:
    """One hidden column: a call, and the conditions under which it is made (always, when None)."""

    number: int
    call: UserCall
    arguments: tuple[Expression, ...]
    conditions: list[Expression] | None

    @property
    def column(self) -> str:
        return f"{HIDDEN}call{self.number}"

    def covers(self, when: Expression | None) -> bool:
        """Return whether the call is surely made in rows where `when` is true."""
        if self.conditions is None:
            return True
        given = [] if when is None else operands(when, "AND")
        return any(all(part in given for part in operands(condition, "AND")) for condition in self.conditions)

    @property
    def when(self) -> Expression | None:
        return None if self.conditions is None else joined("OR", self.conditions)


class _Planner:
    """Hoists the calls of a script; hidden columns are numbered through all of it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._written = 0
        self._condition_nodes = 0
        self.sites = 0

    def relation(self, relation: Relation) -> Relation:
        """Return `relation`, a SELECT or UNION, with its calls hoisted."""
        self._written = self._condition_nodes = 0
        return self._hoisted(relation)[0]

    def count(self, call: UserCall, when: Expression | None) -> None:
        """Count a call and its condition, and refuse a SELECT that calls too much."""
        self._written += 1
        self._condition_nodes += 0 if when is None else size(when)
        if self._written > MAX_QUERY_CALLS or self._condition_nodes > MAX_QUERY_NODES:
            problem = f"a SELECT may call functions and models at {MAX_QUERY_CALLS} places"
            if self._written <= MAX_QUERY_CALLS:
                problem = "the conditions under which this SELECT calls functions and models are too long"
            raise QueryError(problem, self._text, call.span, advice="Spread the calls over WITH steps.")

    def _hoisted(self, relation: Relation) -> tuple[Relation, list[_Site]]:
        """Return `relation` with its calls hoisted, and the hidden columns that its rows have."""
        match relation:
            case Scan() | StepRef():
                return relation, []
            case Union():
                return replace(relation, sources=tuple(map(self.relation, relation.sources))), []
            case Filter():
                return self._filter(relation)
            case Project():
                return self._project(relation)
            case Aggregate():
                return self._aggregate(relation), []
            case Apply():
                return self._apply(relation)
            case Analytic() | Qualified() | Match():
                source, sites = self._hoisted(relation.source)
                return replace(relation, source=source), sites
            case Join() | ReferenceJoin():
                return self._join(relation)
            case Effect():
                raise AssertionError("a script is hoisted once")

    def _aggregate(self, relation: Aggregate) -> Relation:
        """Return the groups of a source whose calls are made per event, before it is grouped."""
        source, sites = self._hoisted(relation.source)
        stage = _Stage(self, sites)
        keys = tuple(replace(key, expression=stage.value(key.expression)) for key in relation.keys)
        calls = tuple(
            replace(
                call,
                arguments=tuple(map(stage.value, call.arguments)),
                order=tuple(replace(by, expression=stage.value(by.expression)) for by in call.order),
            )
            for call in relation.calls
        )
        windows = tuple(
            replace(window, keys=tuple(map(stage.value, window.keys)))
            if isinstance(window, Session)
            else window
            for window in relation.windows
        )
        return replace(relation, source=stage.over(source), keys=keys, calls=calls, windows=windows)

    def _join(self, relation: Join | ReferenceJoin) -> tuple[Relation, list[_Site]]:
        """Return a join whose sides are compared by calls that are made for each row before it is joined."""
        left, left_sites = self._hoisted(relation.left)
        on_left = _Stage(self, left_sites)
        starts = [on_left.value(start) for start, _ in relation.equal]
        if isinstance(relation, ReferenceJoin):
            equal = tuple(zip(starts, (end for _, end in relation.equal), strict=True))
            return replace(relation, left=on_left.over(left), equal=equal), on_left.sites
        right, right_sites = self._hoisted(relation.right)
        on_right = _Stage(self, right_sites)
        ends = [on_right.value(end) for _, end in relation.equal]
        equal = tuple(zip(starts, ends, strict=True))
        # Where the right side is missing its columns say nothing of a call.
        sites = on_left.sites if relation.outer else [*on_left.sites, *on_right.sites]
        return replace(relation, left=on_left.over(left), right=on_right.over(right), equal=equal), sites

    def _apply(self, relation: Apply) -> tuple[Relation, list[_Site]]:
        source, sites = self._hoisted(relation.source)
        stage = _Stage(self, sites)
        operand = stage.value(relation.operand)
        return replace(relation, source=stage.over(source), operand=operand), stage.sites

    def _filter(self, relation: Filter) -> tuple[Relation, list[_Site]]:
        source, sites = self._hoisted(relation.source)
        conjuncts = guards_first(operands(relation.predicate, "AND"))
        pure = 0
        while pure < len(conjuncts) and not holds_call(conjuncts[pure]):
            pure += 1
        pending = conjuncts[:pure]
        for conjunct in conjuncts[pure:]:
            stage = _Stage(self, sites)
            predicate = stage.condition(conjunct)
            if stage.made:
                source = stage.over(self._filtered(source, pending, relation))
                pending = []
            pending.append(predicate)
            sites = stage.sites
        return self._filtered(source, pending, relation), sites

    def _filtered(self, source: Relation, conjuncts: Sequence[Expression], relation: Filter) -> Relation:
        return Filter(source, joined("AND", conjuncts), relation.span) if conjuncts else source

    def _project(self, relation: Project) -> tuple[Relation, list[_Site]]:
        source, sites = self._hoisted(relation.source)
        stage = _Stage(self, sites)
        items = tuple(stage.item(item) for item in relation.items)
        return Project(stage.over(source), items, relation.span), []


@dataclass(slots=True)
class _Stage:
    """The calls of one operator: rewrites its expressions and makes the Effects below it.

    `earlier` are the columns that Effects further down have made already.
    """

    planner: _Planner
    earlier: list[_Site]
    made: list[_Site] = field(default_factory=list)

    @property
    def sites(self) -> list[_Site]:
        """The hidden columns that the operator's rows have."""
        return [*self.earlier, *self.made]

    def over(self, source: Relation) -> Relation:
        """Return `source` under the Effects of this stage's columns, those that need others above them."""
        levels: dict[str, int] = {}
        for site in self.made:
            needs = (*site.arguments, *(site.conditions or ()))
            below = (levels.get(name, 0) for part in needs for name in columns(part))
            levels[site.column] = 1 + max(below, default=0)

        def level(site: _Site) -> int:
            return levels[site.column]

        for _, group in groupby(sorted(self.made, key=level), level):
            calls = tuple(
                EffectCall(site.column, site.call.function, site.arguments, site.when, site.call.span)
                for site in group
            )
            source = Effect(source, calls, calls[0].span)
        return source

    def value(self, expression: Expression) -> Expression:
        """Return a value that every row needs with its calls replaced by columns."""
        return self._rewritten(expression, None)

    def item(self, item: Item | AllColumns) -> Item | AllColumns:
        """Return an item of a SELECT list with its calls replaced by columns."""
        if isinstance(item, Item):
            return replace(item, expression=self._rewritten(item.expression, None))
        return item if item.record is None else replace(item, record=self._rewritten(item.record, None))

    def condition(self, predicate: Expression) -> Expression:
        """Return a condition of WHERE with its calls replaced by columns."""
        return self._rewritten(predicate, None, truth=True)

    def _rewritten(self, node: Expression, when: Expression | None, *, truth: bool = False) -> Expression:
        """Return `node`, looked at in rows where `when` is true, with its calls replaced by columns.

        With `truth` only whether it is true matters, not whether it is false or unknown.
        """
        if not holds_call(node):
            return node
        match node:
            case UserCall():
                arguments = tuple(self._rewritten(argument, when) for argument in node.arguments)
                return self._column(node, arguments, when)
            case Case():
                return self._case(node, when)
            case Binary(operator="AND" | "OR"):
                return self._connected(node, when, truth=truth)
            case Call(function="COALESCE"):
                return self._coalesce(node, when)
        return mapped(node, lambda child: self._rewritten(child, when))

    def _case(self, node: Case, when: Expression | None) -> Expression:
        branches: list[tuple[Expression, Expression]] = []
        for condition, value in node.branches:
            if holds_call(condition) or holds_call(value):
                remaining = self._remaining(branches, when)
                tried = self._rewritten(condition, remaining, truth=True)
                branches.append((tried, self._rewritten(value, _both(remaining, tried))))
            else:
                branches.append((condition, value))
        otherwise = node.otherwise
        if holds_call(otherwise):
            otherwise = self._rewritten(otherwise, self._remaining(branches, when))
        return replace(node, branches=tuple(branches), otherwise=otherwise)

    def _remaining(
        self, branches: Sequence[tuple[Expression, Expression]], when: Expression | None
    ) -> Expression | None:
        """Return the condition that `when` is true and no condition of `branches` is."""
        if not branches:
            return when
        return _both(when, Case(tuple((condition, _FALSE) for condition, _ in branches), _TRUE))

    def _connected(self, node: Binary, when: Expression | None, *, truth: bool) -> Expression:
        """Rewrite AND or OR: each operand is looked at only while those before it leave the result open."""
        done: dict[int, Expression] = {}
        open_ = when
        operator: Connective = "OR" if node.operator == "OR" else "AND"
        parts = operands(node, operator)
        for operand in guards_first(parts):
            rewritten = self._rewritten(operand, open_, truth=truth)
            done[id(operand)] = rewritten
            if operator == "OR":
                open_ = _both(open_, _unless(rewritten))
            else:
                open_ = _both(open_, rewritten if truth else _unless(Unary("NOT", rewritten)))
        return joined(operator, [done[id(part)] for part in parts])

    def _coalesce(self, node: Call, when: Expression | None) -> Expression:
        arguments: list[Expression] = []
        for argument in node.arguments:
            rewritten = self._rewritten(argument, when)
            arguments.append(rewritten)
            when = _both(when, IsNull(rewritten))
        return replace(node, arguments=tuple(arguments))

    # --- one column per call ------------------------------------------------------------------------------

    def _column(
        self, call: UserCall, arguments: tuple[Expression, ...], when: Expression | None
    ) -> Expression:
        """Return the value of `call` in rows where `when` is true, from a column there is or a new one."""
        self.planner.count(call, when)
        sites = [site for site in self.sites if site.call == call]
        for site in sites:
            if site.covers(when):
                return ColumnRef(site.column, call.span)
        last = sites.pop() if sites and self._can_widen(sites[-1], arguments, when) else None
        for site in sites:
            when = _both(when, _unless(site.when)) if site.when else when
        if last is None:
            last = _Site(self.planner.sites, call, arguments, None if when is None else [when])
            self.planner.sites += 1
            self.made.append(last)
        elif not last.covers(when):
            last.conditions = None if when is None else [*(last.conditions or ()), when]
        value: Expression = ColumnRef(last.column, call.span)
        earlier = tuple((site.when, ColumnRef(site.column, call.span)) for site in sites if site.when)
        return Case(earlier, value, call.span) if earlier else value

    def _can_widen(self, site: _Site, arguments: tuple[Expression, ...], when: Expression | None) -> bool:
        """Return whether `site` may be made for the rows of `when`, too.

        It may if its Effect is still open and the condition needs no column that is made after it.
        """
        if site not in self.made or site.arguments != arguments:
            return False
        later = {other.column for other in self.made if other.number >= site.number}
        return when is None or later.isdisjoint(columns(when))


# --- conditions ------------------------------------------------------------------------------------------


def _both(first: Expression | None, second: Expression) -> Expression:
    return second if first is None else Binary("AND", first, second)


def _unless(condition: Expression) -> Expression:
    """Return a condition that is true exactly where `condition` is not, be it false or unknown."""
    return Case(((condition, _FALSE),), _TRUE)
