"""Which session windows events belong to, and when these end (reference, B5).

The events of a session key fall into islands, which end where no event follows within the timeout (an event
just as late as the timeout belongs to the island). An island is cut at checks, multiples of the longest
duration: the first one that is at least the longest duration after its first event, and every one after
that, because the next window opens at the check and is just as long at the next. So the window of an event
follows from the first event of its island by arithmetic.

Windows are (start, end]: an event at a check belongs to the window that ends there, as with every other
window. A window ends at the timeout after its last event, or at its check if that is earlier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.sql.windows import ALIGNMENT_US, Session

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Events:
    """Events, key by key, in order of time; keys have numbers.

    `numbers` are those of the events before they were put key by key: the first ones stand for what is known
    of earlier events, each for the last of its key.
    """

    times_us: Numbers
    keys: Numbers
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class SessionWindows:
    """The windows that hold events: the key, the time of the last event, the check and the end of each.

    `of_events` is the window of each event, `of_known` the windows that earlier events have left open, in the
    order in which their checks were given.
    """

    of_events: Numbers
    of_known: Numbers
    keys: Numbers
    last_us: Numbers
    checks_us: Numbers
    ends_us: Numbers

    @classmethod
    def of(cls, events: Events, known_checks_us: Numbers, window: Session) -> SessionWindows:
        """Return the windows of `events`; for each of `known_checks_us` one of them is an earlier event."""
        times_us, keys, numbers = events.times_us, events.keys, events.numbers
        begins = np.ones(len(times_us), dtype=bool)
        begins[1:] = (keys[1:] != keys[:-1]) | (times_us[1:] - times_us[:-1] > window.timeout_us)
        firsts = np.flatnonzero(begins)
        first_checks_us = _multiple_from(times_us[firsts], window) + window.longest_us
        known = numbers[firsts] < len(known_checks_us)
        first_checks_us[known] = known_checks_us[numbers[firsts[known]]]

        of_events = np.cumsum(begins) - 1
        checks_us = first_checks_us[of_events]
        behind = times_us > checks_us
        if behind.any():
            checks_us[behind] = _multiple_from(times_us[behind], window)
            begins[1:] |= checks_us[1:] != checks_us[:-1]
            of_events, firsts = np.cumsum(begins) - 1, np.flatnonzero(begins)
        lasts = np.append(firsts[1:], len(times_us)) - 1
        of_known = np.empty(len(known_checks_us), dtype=np.int64)
        is_known = numbers < len(known_checks_us)
        of_known[numbers[is_known]] = of_events[is_known]
        last_us, checks_us = times_us[lasts], checks_us[lasts]
        ends_us = np.minimum(last_us + window.timeout_us, checks_us)
        return cls(of_events, of_known, keys[lasts], last_us, checks_us, ends_us)


def _multiple_from(times_us: Numbers, window: Session) -> Numbers:
    """Return the first multiples of the longest duration that are not before `times_us`."""
    return times_us + (ALIGNMENT_US - times_us) % window.longest_us
