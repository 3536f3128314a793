"""Noticing that an input is not what a job has read of it: a hub may be deleted and made anew.

An offset says nothing by itself. Taken in one hub and used in another it skips events, or waits for some that
never come; and rows and dead letters that are known by their event's position would be written over. So a
position is on record with what it was taken in; one of a first stage with what it passes on to as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headrace.connect.exchange import EXCHANGE
from headrace.connect.source import OrderedSource
from headrace.errors import UserError
from headrace.local.progress import Position
from headrace.names import STAGE_MARK

#: Between what a first stage reads and what it passes that on to.
_ONTO: Final = ">"


def position_in(source: OrderedSource, offset: int, passes_to: str = "") -> Position:
    """Return the position of an offset; `passes_to` is the identity of the hub that a first stage writes."""
    return Position(offset, f"{source.identity}{_ONTO}{passes_to}" if passes_to else source.identity)


def is_of(position: Position, identity: str) -> bool:
    """Tell whether a position is one of what has this identity, as far as it says."""
    return position.identity.partition(_ONTO)[0] in {"", identity}


@dataclass(frozen=True, slots=True)
class MadeAnew:
    """What to tell of an input that was made anew: how the job can go on.

    One that `keeps_state` must start elsewhere, and so reads all its inputs elsewhere; one that `has_queues`
    cannot. `passes_to` is as in `position_in`.
    """

    job: str
    keeps_state: bool
    has_queues: bool
    passes_to: str = ""

    def check(self, input_name: str, known: Position, source: OrderedSource) -> None:
        """Raise UserError if a position was taken in something else than `source` is now.

        What an earlier version put on record says nothing of that, and is taken as it is.
        """
        if not is_of(known, source.identity):
            raise UserError(self._told(input_name, source))
        if known.identity and known != position_in(source, known.next_offset, self.passes_to):
            raise UserError(self._told_of_exchange(input_name))

    def _told(self, input_name: str, source: OrderedSource) -> str:
        if source.kind == EXCHANGE:
            return self._told_of_exchange(input_name)
        told = (
            f"job '{self._whole}' cannot go on: input '{input_name}' is {source.kind} '{source.place}', "
            "which is not what the job has read under that name. It was deleted and made anew, or the "
            "settings named another one; nothing of this one was read. Put the former back to go on with it, "
            "or "
        )
        if self.has_queues:
            return told + self._by_name(source)
        if self.keeps_state:
            return f"{told}let the job start elsewhere: {self._by_start}"
        return (
            f"{told}{self._by_name(source)}. Or {self._by_start}; then rows and dead letters that are known "
            "by the position of their event are written over"
        )

    def _told_of_exchange(self, input_name: str) -> str:
        return (
            f"job '{self._whole}' cannot go on: the hub between its stages for input '{input_name}' is not "
            "the one that was read and written so far. It was removed from `exchanges` in the data folder, "
            "or the input is divided in another way now, by another query or other settings. Put back what "
            f"was changed, or let the job start elsewhere: {self._by_start}"
        )

    @property
    def _whole(self) -> str:
        return self.job.partition(STAGE_MARK)[0]

    @property
    def _by_start(self) -> str:
        return (
            f"`headrace run {self._whole} --from beginning` reads all its inputs from the beginning, "
            "`--from now` only what comes"
        )

    @staticmethod
    def _by_name(source: OrderedSource) -> str:
        setting = "path" if source.kind == "file" else source.kind
        return (
            f'give it another name in headrace.toml and the query, with {setting} = "{source.place}": under '
            "that it is read from the beginning, and what was written before stays"
        )
