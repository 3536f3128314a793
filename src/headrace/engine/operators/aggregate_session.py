"""GROUP BY SessionWindow: a row per session and group (see `sessions`).

Sessions belong to all events, or to each combination of session keys. A group in a session shares its end,
though the group's own last event be earlier. A window without events gives no row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import polars as pl

from headrace.engine.operator import Slice, State
from headrace.engine.planes import planes_among
from headrace.engine.windows.grouping import END, Grouping
from headrace.engine.windows.keys import Keys
from headrace.engine.windows.sessions import Events, Mask, Numbers, SessionWindows
from headrace.events.batch import TIME, Batch
from headrace.models.aggregate import UserAggregate
from headrace.sql import plan

#: The number of the window that a row belongs to; in what is kept, of the session.
_WINDOW: Final = "@window"

#: The number of the session key that a row belongs to.
_KEY: Final = "@session_key"

#: The check at which a session that is kept ends at the latest, in microseconds since 1970.
_CHECK: Final = "@check"

#: The number of a row before rows are put key by key.
_ROW: Final = "@row"

#: Chunks of a frame that is kept, one a slice, before they are put together.
_MAX_CHUNKS: Final = 64

#: As many sessions for each event of a slice are worth asking which of them the events may change.
_MANY: Final = 4


class SessionAggregate:
    """Computes `aggregate`, whose window is `window`.

    Keeps partial results, and for each session that may go on the time of its last event and its check.
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
        #: Keys of groups that are keys of sessions as well: rows of one session are equal in them.
        self._shared = [
            prefix
            for prefix, expression in zip(self._grouping.keys.prefixes, expressions, strict=True)
            if expression in window.keys
        ]
        self._others = Keys([key for key in window.keys if key not in expressions], script, "@session")

    def initial(self) -> State:
        """Return a state without sessions."""
        return _Kept.nothing().state()

    def advance(self, state: State, inputs: Sequence[Slice], /) -> tuple[State, Slice]:
        """Return the rows of the windows that end before the frontier; raises RowError and DataError."""
        [given] = inputs
        lifted = self._lifted(given.batch)
        kept = _Kept.of(state)
        asleep = None
        if kept.sessions.height > _MANY * lifted.height:
            awake = kept.due(self._window, given.frontier_us) | self._touched(kept.sessions, lifted)
            kept, asleep = kept.only(awake), kept.only(~awake)
        after, rows = kept, None
        if kept.sessions.height or lifted.height:
            after, rows = self._advanced(kept, lifted, given.frontier_us)
        following = after if asleep is None else asleep.and_also(after)
        return following.state(), Slice(rows, given.frontier_us)

    # --- events -------------------------------------------------------------------------------------------

    def _lifted(self, batch: Batch | None) -> pl.DataFrame:
        """Return the times in microseconds, all keys and the lifted arguments of the rows of `batch`."""
        if batch is None or not batch.height:
            return pl.DataFrame(schema={TIME: pl.Int64})
        lifted = self._grouping.lift(batch)
        return lifted.with_columns(pl.col(TIME).to_physical(), *self._others.lift(batch))

    def _session_columns(self, columns: Sequence[str]) -> list[str]:
        shared = [name for prefix in self._shared for name in planes_among(prefix, columns).values()]
        return [*shared, *self._others.equal(columns)]

    def _touched(self, sessions: pl.DataFrame, lifted: pl.DataFrame) -> Mask:
        """Return which of `sessions` have keys that are among those of `lifted`."""
        if not lifted.height:
            return np.zeros(sessions.height, dtype=bool)
        # Beside the keys a column that all rows have: keys that are all NULL are no columns.
        frames = [
            frame.with_columns(pl.lit(0).alias(_KEY)).select(_KEY, *self._session_columns(frame.columns))
            for frame in (sessions, lifted)
        ]
        known, coming = (
            pl.concat([frame, other.clear()], how="diagonal") for frame, other in (frames, reversed(frames))
        )
        rows = known.with_row_index(_ROW)
        found = rows.join(coming.unique(), on=known.columns, how="semi", nulls_equal=True)
        return _among(found.get_column(_ROW).to_numpy(), sessions.height)

    def _by_key(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the session keys, and the rows key by key, in order of time, with the number of the key."""
        names = self._session_columns(rows.columns)
        if not names:
            return pl.DataFrame(height=1), rows.with_columns(pl.lit(0, pl.Int64).alias(_KEY))
        rest = [name for name in rows.columns if name not in names]
        grouped = rows.group_by(names).agg(rest).with_row_index(_KEY)
        return grouped.select(names), grouped.drop(names).explode(rest)

    # --- windows ------------------------------------------------------------------------------------------

    def _advanced(self, kept: _Kept, lifted: pl.DataFrame, frontier_us: int) -> tuple[_Kept, Batch | None]:
        """Return what is kept then, and the rows of the windows that end before the frontier."""
        known = kept.sessions
        together = pl.concat([known.drop(_CHECK), lifted], how="diagonal").with_row_index(_ROW)
        keys, rows = self._by_key(together)
        events = Events(*(rows.get_column(name).to_numpy() for name in (TIME, _KEY, _ROW)))
        windows = SessionWindows.of(events, known.get_column(_CHECK).to_numpy(), self._window)
        partials = self._partials(kept.partials, rows, windows)

        of = partials.get_column(_WINDOW).to_numpy()
        ended = (windows.ends_us < frontier_us)[of]
        # An event at the frontier may belong to the island of a window, even of one that a check has ended.
        goes_on = windows.last_us + self._window.timeout_us >= frontier_us
        # That window has ended if there is a later one of its key, and the later one is enough to know.
        goes_on[:-1] &= windows.keys[1:] != windows.keys[:-1]
        sessions = keys[windows.keys[goes_on]].with_columns(
            pl.Series(TIME, windows.last_us[goes_on]), pl.Series(_CHECK, windows.checks_us[goes_on])
        )
        places = np.cumsum(goes_on) - 1
        left = partials.filter(~ended).with_columns(pl.Series(_WINDOW, places[of[~ended]]))
        rows_ended = None
        if ended.any():
            done = partials.filter(ended).with_columns(
                pl.Series(END, windows.ends_us[of[ended]]), *keys[windows.keys[of[ended]]]
            )
            rows_ended = self._result(done)
        return _Kept(sessions, left), rows_ended

    def _partials(self, kept: pl.DataFrame, rows: pl.DataFrame, windows: SessionWindows) -> pl.DataFrame:
        """Return a partial result of each window and group, without the columns of session keys."""
        frames = []
        if kept.height:
            frames.append(_renumbered(kept, windows.of_known))
        known = len(windows.of_known)
        if rows.height > known:
            lifted = rows.drop(_KEY).with_columns(pl.Series(_WINDOW, windows.of_events).set_sorted())
            if known:
                lifted = lifted.filter(pl.col(_ROW) >= known)
            frames.append(self._grouping.first(lifted.drop(_ROW), [_WINDOW]))
        if len(frames) < 2:
            return frames[0] if frames else _NO_PARTIALS
        # Most windows have events in one slice only: what needs no merge is not touched.
        of = [frame.get_column(_WINDOW).to_numpy() for frame in frames]
        both = np.logical_and(*(_among(numbers, len(windows.keys)) for numbers in of))
        mixed = [frame.filter(both[numbers]) for frame, numbers in zip(frames, of, strict=True)]
        apart = [frame.filter(~both[numbers]) for frame, numbers in zip(frames, of, strict=True)]
        merged = self._grouping.merge(pl.concat(mixed, how="diagonal"), [_WINDOW])
        return pl.concat([merged, *apart], how="diagonal")

    def _result(self, done: pl.DataFrame) -> Batch:
        # Sessions with several keys may end together with equal groups: they come in the order of their keys.
        order = self._others.order(done.columns)
        return self._grouping.rows(done.sort(order) if order else done, self._window.id)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Sessions that may go on, with their keys, and the partial results of those that have not ended."""

    sessions: pl.DataFrame
    partials: pl.DataFrame

    @classmethod
    def nothing(cls) -> _Kept:
        return cls(_NO_SESSIONS, _NO_PARTIALS)

    @classmethod
    def of(cls, state: State) -> _Kept:
        return cls(cast("pl.DataFrame", state["sessions"]), cast("pl.DataFrame", state["partials"]))

    def state(self) -> State:
        return {"sessions": self.sessions, "partials": self.partials}

    def due(self, window: plan.Session, frontier_us: int) -> Mask:
        """Return which sessions end, or are forgotten, before the frontier."""
        last_us, checks_us = (self.sessions.get_column(name).to_numpy() for name in (TIME, _CHECK))
        ends_us: Numbers = np.minimum(last_us + window.timeout_us, checks_us)
        return ends_us < frontier_us

    def only(self, chosen: Mask) -> _Kept:
        """Return the `chosen` sessions."""
        of_chosen = self.partials.filter(chosen[self.partials.get_column(_WINDOW).to_numpy()])
        return _Kept(self.sessions.filter(chosen), _renumbered(of_chosen, np.cumsum(chosen) - 1))

    def and_also(self, other: _Kept) -> _Kept:
        """Return the sessions of both, which have different keys."""
        later = other.partials.with_columns(pl.col(_WINDOW) + self.sessions.height)
        return _Kept(
            _together([self.sessions, other.sessions]),
            _together([self.partials, later]),
        )


_NO_SESSIONS: Final = pl.DataFrame(schema={TIME: pl.Int64, _CHECK: pl.Int64})
_NO_PARTIALS: Final = pl.DataFrame(schema={_WINDOW: pl.Int64})


def _together(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="diagonal", rechunk=frames[0].n_chunks() >= _MAX_CHUNKS)


def _renumbered(partials: pl.DataFrame, numbers: Numbers) -> pl.DataFrame:
    """Return `partials` with ``numbers[i]`` for the window i."""
    return partials.with_columns(pl.Series(_WINDOW, numbers[partials.get_column(_WINDOW).to_numpy()]))


def _among(chosen: Numbers, count: int) -> Mask:
    """Return which of the numbers up to `count` are `chosen`."""
    mask = np.zeros(count, dtype=bool)
    mask[chosen] = True
    return mask
