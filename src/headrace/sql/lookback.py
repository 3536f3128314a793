"""How far back a script looks: from where its events must be read so that rows from some time on are whole.

Times are those of the events as they are taken (TIMESTAMP BY, after late and early ones were judged). Who
reads by arrival must begin earlier by as much as an event may be early, and gives judging a while to know
the largest time of each partition again.

Every relation asks its sources for somewhat more than is asked of it:

- a window that ends at E holds what came after E - size, wherever it is aligned. So does a sliding window,
  and what goes out of it at E came at E - size.
- a session is cut at checks, the multiples of its longest duration M since the alignment. Begun in the middle
  of a chain of events, however long, sessions fall in with those of the whole chain at the first check that
  is M or more after the first event read; it comes less than 2 M after that event. If the chain goes on where
  reading begins, that event is within the timeout from there. So the timeout and 2 M are enough.
- OVER looks back by its limit, ISFIRST to the start of its interval, a pattern by its limit.
- a join looks back from the later row of a pair to the earlier one, by whole units of DATEDIFF; a left row
  that comes alone is dated by the upper bound later, and what could have met it must be known.

Not known is how long a game of AnomalyDetection_ChangePoint goes on: as long as no two events are the limit
apart its scores depend on all that came before. It is taken to look back by its limit; begun so, its first
scores may be others.
"""

from __future__ import annotations

from headrace.sql.plan import (
    Aggregate,
    Analytic,
    AnalyticCall,
    Apply,
    Effect,
    Filter,
    Hopping,
    Join,
    Match,
    ReferenceJoin,
    Relation,
    Scan,
    Script,
    Session,
    Sliding,
    Snapshot,
    StepRef,
    Window,
    children,
)


def lookback_us(script: Script) -> int:
    """Return how much earlier than T events must be read for all rows with a time of T or later, in us.

    It is the most of all paths from outputs to inputs: of each the sum of what its relations look back.
    """
    return _Lookback(script).longest_us()


class _Lookback:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._steps: dict[str, int] = {}

    def longest_us(self) -> int:
        return max(self._behind(output.relation) for output in self._script.outputs)

    def _behind(self, relation: Relation) -> int:
        """Return how much earlier than the rows of `relation` the events must be read."""
        match relation:
            case Scan():
                return 0
            case StepRef():
                return self._of_step(relation.step.casefold())
            case Join():
                left_us, right_us = _joined_us(relation)
                return max(self._behind(relation.left) + left_us, self._behind(relation.right) + right_us)
        below = [self._behind(child) for child in children(relation) if isinstance(child, Relation)]
        return max(below) + _own_us(relation)

    def _of_step(self, name: str) -> int:
        if name not in self._steps:
            relation = next(step.relation for step in self._script.steps if step.name.casefold() == name)
            self._steps[name] = self._behind(relation)
        return self._steps[name]


def _own_us(relation: Relation) -> int:
    """Return how far a relation of one source looks back."""
    match relation:
        case Aggregate():
            return max(map(_window_us, relation.windows))
        case Analytic():
            return max(map(_call_us, relation.calls))
        case Match():
            return relation.limit_us
    return 0


def _window_us(window: Window) -> int:
    match window:
        case Hopping() | Sliding():
            return window.size_us
        case Session():
            return window.timeout_us + 2 * window.longest_us
        case Snapshot():
            return 0


def _call_us(call: AnalyticCall) -> int:
    if call.limit_us is not None:
        return call.limit_us
    interval_us = call.call.parameters[0]
    assert isinstance(interval_us, int), "only ISFIRST has no limit"
    return interval_us


# --- joins ------------------------------------------------------------------------------------------------


def _joined_us(join: Join) -> tuple[int, int]:
    """Return how much earlier than its rows the left and the right side of a join must be known.

    DATEDIFF counts the boundaries of its unit: the right row of a pair may be almost `high + 1` units after
    the time that a bound counts from, and almost `1 - low` units before.
    """
    after_us, before_us = _reach_us(join)
    alone_us = max(0, min(bound.high * bound.unit_us for bound in join.bounds)) if join.outer else 0
    return after_us, max(0, before_us + alone_us)


def _reach_us(join: Join) -> tuple[int, int]:
    """Return how much later, and how much earlier, than a left row its partners can be."""
    after_us = min((bound.high + 1) * bound.unit_us for bound in join.bounds)
    before_us = min((1 - bound.low) * bound.unit_us for bound in join.bounds)
    return max(0, after_us), before_us + _spread_us(join.left)


def _spread_us(relation: Relation) -> int:
    """Return how much earlier than a joined row those can be that it is made of: bounds count from them."""
    match relation:
        case Join():
            after_us, before_us = _reach_us(relation)
            return max(_spread_us(relation.left) + after_us, before_us)
        case Filter() | Analytic() | Effect() | Apply():
            return _spread_us(relation.source)
        case ReferenceJoin():
            return _spread_us(relation.left)
    return 0
