"""AnomalyDetection_ChangePoint: events since which the level is another.

While nothing changes the events are exchangeable and their p-values beside their histories are spread over
0 to 1. An exchangeability martingale bets against that: each p-value p multiplies the stake by 0.1 * p^-0.9,
a power martingale (Vovk, Nouretdinov, Gammerman, Testing exchangeability on-line, 2003), with the betting
function that ML.NET's IidChangePointDetector uses. What is at stake is the score. A game that has lost is
begun anew, with stake 1 (as in Volkhonskiy et al., Inductive conformal martingales for change-point
detection, 2017), so that the past does not delay what is found. An event is a change point where the stake
reaches 1 / (1 - confidence), which a game under no change reaches with a chance of 1 - confidence at most.

The events of a game are no part of the history that they are compared with, else a new level would soon look
usual. A p-value counts no less than 0.02, so that single spikes are no change of level unless the confidence
is low. After a change point the history begins with the events of the game that found it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from headrace.engine.analytic.anomaly import Judged, Settings, Values, judged, records, settings_of
from headrace.engine.analytic.density import Floats, upper_tails
from headrace.engine.analytic.function import Events
from headrace.engine.analytic.lookback import Flags, Lookback
from headrace.engine.expressions import Planes
from headrace.events.batch import Batch
from headrace.sql.plan import AnalyticCall, Expression

#: The exponent of the power martingale plus 1, as ML.NET has it.
_POWER: Final = 0.1

#: The width of kernels: less than for spikes, since no single p-value decides.
_WIDTH: Final = 0.5

#: What one p-value counts at least.
_LEAST_P_VALUE: Final = 0.02


class ChangePoints:
    """Calls of AnomalyDetection_ChangePoint with one argument."""

    computed: tuple[Expression, ...] = ()

    def __init__(self, calls: Sequence[AnalyticCall], script: str) -> None:
        self._values = Values(calls[0], script)
        self._settings = [settings_of(call) for call in calls]

    def remember(self, batch: Batch) -> list[pl.Series]:
        """Return the values."""
        return self._values.lift(batch)

    def advance(self, events: Events, _computed: Sequence[Planes]) -> tuple[list[Planes], pl.DataFrame]:
        """Return the records of all rows; the longest history of each partition is kept, with its game."""
        lookback, frame = events.lookback(), events.together()
        values = self._values.listed(frame, lookback)
        results: list[Planes] = []
        for number, settings in enumerate(self._settings):
            found = judged(lookback, settings)
            games = _Games.before(frame, lookback, f"{number}:")
            anomalies = games.play(found, values, settings)
            scores = np.array(games.stakes)[found.places]
            results.append(records(events.rows.height, found.rows, anomalies, scores))
            frame = frame.with_columns(games.columns(lookback, f"{number}:"))
        return results, frame.filter(lookback.among_last(max(each.history for each in self._settings)))

    def horizon_us(self, frontier_us: int) -> int:
        """Return where the longest limit ends."""
        return frontier_us - max(settings.limit_us or 0 for settings in self._settings)


@dataclass(slots=True)
class _Games:
    """How the games stand after each event of the list.

    `stakes` are the scores, `rounds` the events that the running game has, 0 when there is none, and `known`
    how many events, that one included, may be in a history or game after it.
    """

    stakes: list[float]
    rounds: list[int]
    known: list[int]

    @classmethod
    def before(cls, frame: pl.DataFrame, lookback: Lookback, prefix: str) -> _Games:
        """Return the games as they stand after the events kept from before, and nothing for the others."""

        def known(name: str, nothing: float) -> list[Any]:
            if f"{prefix}{name}" not in frame.columns:
                return [nothing] * frame.height
            return frame.get_column(f"{prefix}{name}").fill_null(nothing)[lookback.listed].to_list()

        return cls(known("stake", 1.0), known("rounds", 0), known("known", 0))

    def columns(self, lookback: Lookback, prefix: str) -> list[pl.Series]:
        """Return how the games stand after each event, by the events' numbers."""
        listed = lookback.listed
        result = []
        for name, values in (("stake", self.stakes), ("rounds", self.rounds), ("known", self.known)):
            by_number = np.empty(len(listed), dtype=np.float64 if name == "stake" else np.int64)
            by_number[listed] = values
            result.append(pl.Series(f"{prefix}{name}", by_number))
        return result

    def play(self, found: Judged, values: Floats, settings: Settings) -> Flags:
        """Play on with the judged events, and return which of them are change points."""
        usual = _whole_tails(found, values)
        anomalies = np.zeros(len(found.places), dtype=np.bool_)
        events = zip(found.places.tolist(), found.begins.tolist(), usual.tolist(), strict=True)
        for number, (place, begin, tail) in enumerate(events):
            stake, rounds, known = 1.0, 0, 0
            if place > begin:
                rounds, known = self.rounds[place - 1], self.known[place - 1]
                stake = self.stakes[place - 1] if rounds else 1.0
            first, behind = max(begin, place - known), place - rounds
            if behind - first < settings.least_history:
                stake, rounds = 1.0, 0
            else:
                whole = first == begin and not rounds
                stake *= _bet(tail if whole else _tail(values, place, first, behind))
                rounds = rounds + 1 if stake > 1 else 0
            found_here = rounds > 0 and stake * settings.doubt >= 1
            anomalies[number] = found_here
            self.stakes[place] = stake
            self.rounds[place] = 0 if found_here else rounds
            self.known[place] = rounds if found_here else known + 1
        return anomalies


def _bet(tail: float) -> float:
    """Return what an event with this upper tail multiplies the stake by."""
    p_value = max(2 * min(tail, 1 - tail), _LEAST_P_VALUE)
    return float(_POWER * p_value ** (_POWER - 1))


def _whole_tails(found: Judged, values: Floats) -> Floats:
    """Return the upper tail of each event beside all of its history.

    Nearly all events stand outside games and know their whole history, so these are computed at once.
    """
    tails = np.ones(len(found.places))
    some = found.places > found.begins
    places = found.places[some]
    tails[some] = upper_tails(values, places, found.begins[some], places, width=_WIDTH)
    return tails


def _tail(values: Floats, place: int, begin: int, end: int) -> float:
    return float(upper_tails(values, np.array([place]), np.array([begin]), np.array([end]), width=_WIDTH)[0])
