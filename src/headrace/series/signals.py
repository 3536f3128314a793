"""Signals of sensors: what values tags take over time, made up but like real ones.

A signal makes the next values of many tags at once, a row for each round of the tags; it remembers in `state`
how each tag stood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.series.points import Values

Times = NDArray[np.int64]

#: From the random numbers, the tags' own levels, their state (changed in place) and the rounds' times in
#: milliseconds, a row of values for each round.
Make = Callable[[np.random.Generator, Values, Values, Times], Values]


@dataclass(frozen=True, slots=True)
class Signal:
    """A kind of signal: how many decimal places its values have, None for full doubles."""

    decimals: int | None
    make: Make


def _random(random: np.random.Generator, level: Values, state: Values, times_ms: Times) -> Values:
    return level * random.normal(1, 0.01, (len(times_ms), len(level)))


def _setpoint(random: np.random.Generator, level: Values, state: Values, times_ms: Times) -> Values:
    steps = random.normal(0, 0.1, (len(times_ms), len(level))) * level
    moved = random.random(steps.shape) < 0.005
    return _carried(level, state, np.where(moved, steps, 0))


def _analog(random: np.random.Generator, level: Values, state: Values, times_ms: Times) -> Values:
    return level + random.normal(0, 0.5, (len(times_ms), len(level)))


def _walk(random: np.random.Generator, level: Values, state: Values, times_ms: Times) -> Values:
    return _carried(level, state, random.normal(0, 0.02, (len(times_ms), len(level))))


def _sine(random: np.random.Generator, level: Values, state: Values, times_ms: Times) -> Values:
    period_ms = 60_000 * level
    turned = 2 * np.pi * (times_ms[:, None] / period_ms)
    return level * (1 + 0.1 * np.sin(turned)) + random.normal(0, 0.01, turned.shape)


def _counter(random: np.random.Generator, level: Values, state: Values, times_ms: Times) -> Values:
    counted = state + np.cumsum(random.poisson(3, (len(times_ms), len(level))), axis=0)
    state[:] = counted[-1]
    return counted


def _boolean(random: np.random.Generator, level: Values, state: Values, times_ms: Times) -> Values:
    flips = np.cumsum(random.random((len(times_ms), len(level))) < 0.01, axis=0)
    switched = (state + flips) % 2
    state[:] = switched[-1]
    return switched


def _double(random: np.random.Generator, level: Values, state: Values, times_ms: Times) -> Values:
    return level * random.normal(1, 0.01, (len(times_ms), len(level)))


def _carried(level: Values, state: Values, steps: Values) -> Values:
    """Return levels that steps add up on, kept at above -level and below three times it."""
    moved = state + np.cumsum(steps, axis=0)
    state[:] = np.clip(moved[-1], -2 * level, 2 * level)
    return level + moved


#: The kinds there are; "random" is the original system's.
SIGNALS: Final[dict[str, Signal]] = {
    "random": Signal(4, _random),
    "setpoint": Signal(1, _setpoint),
    "analog": Signal(4, _analog),
    "walk": Signal(2, _walk),
    "sine": Signal(3, _sine),
    "counter": Signal(0, _counter),
    "boolean": Signal(0, _boolean),
    "double": Signal(None, _double),
}
