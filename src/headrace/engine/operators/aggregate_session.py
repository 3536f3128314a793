"""GROUP BY SessionWindow: a row per session and group (reference, B5).

The events of a session key fall into islands, which end where no event follows within the timeout (an event
just as late as the timeout belongs to the island). An island is cut at checks, multiples of the longest
duration: the first one that is at least the longest duration after its first event, and every one after
that, because the next window opens at the check and is just as long at the next. So the window of an event
follows from the first event of its island by arithmetic. Windows are (start, end]: an event at a check
belongs to the window that ends there, as with every other window.

A window ends at the timeout after its last event, or at its check if that is earlier. A group in it shares
this end, though its own last event be earlier. A window without events gives no row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from headrace.engine.grouping import END, Grouping
from headrace.engine.keys import Keys
from headrace.engine.operator import Slice, State
from headrace.engine.planes import planes_among
from headrace.events.batch import TIME, Batch
from headrace.models.aggregate import UserAggregate
from headrace.sql import plan
from headrace.sql.windows import ALIGNMENT_US

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: The number of the window that a row belongs to.
_WINDOW: Final = "@window"

#: The number of the session key that a row belongs to.
_KEY: Final = "@session_key"

#: The check at which a session that is kept from the slices before was going to end.
_CHECK: Final = "@check"

#: The number of a row before rows are put key by key: sessions that are kept come first.
_ROW: Final = "@row"

_NO_SESSIONS: Final = pl.DataFrame(schema={TIME: pl.Int64, _CHECK: pl.Int64})


class SessionAggregate:
    """Computes `aggregate`, whose window is `window`.

    Keeps for each session key that may go on the time of its last event and its check, and partial results.
    `user` are the user aggregates by the names they are called by.
    """

    def __init__(
        self,
        aggregate: plan.Aggregate,
        window: plan.Session,
        script: str,
        user: Mapping[str, UserAggregate] | None = None,
    ) -> None:
        self._window = window
        self._grouping = Grouping(aggregate, script, user)
        expressions = [key.expression for key in aggregate.keys]
        #: Keys of groups that are keys of sessions as well: rows of one window are equal in them.
        self._shared = [
            prefix
            for prefix, expression in zip(self._grouping.keys.prefixes, expressions, strict=True)
            if expression in window.keys
        ]
        self._others = Keys([key for key in window.keys if key not in expressions], script, "@session")

    def initial(self) -> State:
        """Return a state without sessions."""
        return {"sessions": None, "partials": None}

    def advance(self, state: State, inputs: Sequence[Slice], /) -> tuple[State, Slice]:
        """Return the rows of the windows that end before the frontier; raises RowError and DataError."""
        [given] = inputs
        sessions = state["sessions"] if isinstance(state["sessions"], pl.DataFrame) else _NO_SESSIONS
        rows = self._rows(sessions, given.batch)
        if not rows.height:
            return self.initial(), Slice(None, given.frontier_us)
        keys, rows = self._by_key(rows)
        windows = _Windows.of(rows, sessions.get_column(_CHECK).to_numpy(), self._window)
        partials = self._partials(state["partials"], rows, windows)
        return self._ended(keys, windows, partials, given.frontier_us)

    def _rows(self, sessions: pl.DataFrame, batch: Batch | None) -> pl.DataFrame:
        """Return a row for the last event of each session that is kept, and the lifted rows of `batch`."""
        frames = [sessions.drop(_CHECK)]
        if batch is not None and batch.height:
            lifted = self._grouping.lift(batch)
            frames.append(lifted.with_columns(pl.col(TIME).to_physical(), *self._others.lift(batch)))
        return pl.concat(frames, how="diagonal").with_row_index(_ROW)

    def _by_key(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the session keys, and the rows key by key, in order of time, with the number of the key."""
        names = self._session_columns(rows.columns)
        if not names:
            return pl.DataFrame(height=1), rows.with_columns(pl.lit(0, pl.Int64).alias(_KEY))
        rest = [name for name in rows.columns if name not in names]
        grouped = rows.group_by(names).agg(rest).with_row_index(_KEY)
        return grouped.select(names), grouped.drop(names).explode(rest)

    def _session_columns(self, columns: Sequence[str]) -> list[str]:
        shared = [name for prefix in self._shared for name in planes_among(prefix, columns).values()]
        return [*shared, *self._others.equal(columns)]

    def _partials(self, kept: object, rows: pl.DataFrame, windows: _Windows) -> pl.DataFrame:
        """Return a partial result of each window and group, without the columns of session keys."""
        frames = []
        if isinstance(kept, pl.DataFrame):
            now = windows.of_kept[kept.get_column(_WINDOW).to_numpy()]
            frames.append(kept.with_columns(pl.Series(_WINDOW, now)))
        if rows.height > len(windows.of_kept):
            lifted = rows.drop(_KEY).with_columns(pl.Series(_WINDOW, windows.of_rows).set_sorted())
            if len(windows.of_kept):
                lifted = lifted.filter(pl.col(_ROW) >= len(windows.of_kept))
            frames.append(self._grouping.first(lifted.drop(_ROW), [_WINDOW]))
        if len(frames) < 2:
            return frames[0] if frames else pl.DataFrame(schema={_WINDOW: pl.Int64})
        # Most sessions have events in one slice only: what needs no merge is not touched.
        both = windows.among(frames[0]) & windows.among(frames[1])
        touched = [both[frame.get_column(_WINDOW).to_numpy()] for frame in frames]
        apart = [frame.filter(~mask) for frame, mask in zip(frames, touched, strict=True)]
        mixed = [frame.filter(mask) for frame, mask in zip(frames, touched, strict=True)]
        merged = self._grouping.merge(pl.concat(mixed, how="diagonal"), [_WINDOW])
        return pl.concat([merged, *apart], how="diagonal")

    def _ended(
        self, keys: pl.DataFrame, windows: _Windows, partials: pl.DataFrame, frontier_us: int
    ) -> tuple[State, Slice]:
        """Return the next state and the rows of windows that end before the frontier."""
        of = partials.get_column(_WINDOW).to_numpy()
        ended = (windows.ends_us < frontier_us)[of]
        goes_on = windows.goes_on(self._window, frontier_us)
        sessions = keys[windows.keys[goes_on]].with_columns(
            pl.Series(TIME, windows.last_us[goes_on]), pl.Series(_CHECK, windows.checks_us[goes_on])
        )
        open_ = partials.filter(~ended)
        places = np.cumsum(goes_on) - 1
        open_ = open_.with_columns(pl.Series(_WINDOW, places[of[~ended]]))
        state: State = {
            "sessions": sessions if sessions.height else None,
            "partials": open_ if open_.height else None,
        }
        if not ended.any():
            return state, Slice(None, frontier_us)
        done = partials.filter(ended).with_columns(
            pl.Series(END, windows.ends_us[of[ended]]), *keys[windows.keys[of[ended]]]
        )
        # Sessions with several keys may end together with equal groups: they come in the order of their keys.
        order = self._others.order(done.columns)
        done = done.sort(order) if order else done
        return state, Slice(self._grouping.rows(done, self._window.id), frontier_us)


@dataclass(frozen=True, slots=True)
class _Windows:
    """The windows that rows, key by key and in order of time, belong to.

    `of_rows` has the number of the window of each row, `of_kept` that of each session that was kept; the
    others are by window.
    """

    of_rows: Numbers
    of_kept: Numbers
    keys: Numbers
    last_us: Numbers
    checks_us: Numbers
    ends_us: Numbers

    @classmethod
    def of(cls, rows: pl.DataFrame, kept_checks_us: Numbers, window: plan.Session) -> _Windows:
        """Return the windows of `rows`; the first rows, by number, are kept sessions with these checks."""
        times_us, keys, numbers = (rows.get_column(name).to_numpy() for name in (TIME, _KEY, _ROW))
        begins = np.ones(rows.height, dtype=bool)
        begins[1:] = (keys[1:] != keys[:-1]) | (times_us[1:] - times_us[:-1] > window.timeout_us)
        firsts = np.flatnonzero(begins)
        first_checks_us = _multiple_from(times_us[firsts], window) + window.longest_us
        known = numbers[firsts] < len(kept_checks_us)
        first_checks_us[known] = kept_checks_us[numbers[firsts[known]]]

        of_rows = np.cumsum(begins) - 1
        checks_us = first_checks_us[of_rows]
        behind = times_us > checks_us
        if behind.any():
            checks_us[behind] = _multiple_from(times_us[behind], window)
            begins[1:] |= checks_us[1:] != checks_us[:-1]
            of_rows, firsts = np.cumsum(begins) - 1, np.flatnonzero(begins)
        lasts = np.append(firsts[1:], rows.height) - 1
        of_kept = np.empty(len(kept_checks_us), dtype=np.int64)
        is_kept = numbers < len(kept_checks_us)
        of_kept[numbers[is_kept]] = of_rows[is_kept]
        last_us, checks_us = times_us[lasts], checks_us[lasts]
        ends_us = np.minimum(last_us + window.timeout_us, checks_us)
        return cls(of_rows, of_kept, keys[lasts], last_us, checks_us, ends_us)

    def among(self, partials: pl.DataFrame) -> Mask:
        """Return which windows have a partial result in `partials`."""
        found = np.zeros(len(self.keys), dtype=bool)
        found[partials.get_column(_WINDOW).to_numpy()] = True
        return found

    def goes_on(self, window: plan.Session, frontier_us: int) -> Mask:
        """Return which windows are of an island that an event at the frontier or later may belong to."""
        return self.last_us + window.timeout_us >= frontier_us


def _multiple_from(times_us: Numbers, window: plan.Session) -> Numbers:
    """Return the first multiples of the longest duration that are not before `times_us`."""
    return times_us + (ALIGNMENT_US - times_us) % window.longest_us
