"""What every format is decoded to, and the contract of those who do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.events.batch import Batch


@dataclass(frozen=True, slots=True)
class Reject:
    """A body that is no event: its index among the bodies, and why."""

    origin: int
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows of the good bodies, with the index of its body in ORIGIN, and the bad bodies in order."""

    batch: Batch
    rejects: tuple[Reject, ...]


class Decoder(Protocol):
    """Makes rows of bodies; it may learn from call to call to be fast, and results never depend on it."""

    def decode(self, bodies: Sequence[bytes], joined: bytes | None = None) -> Decoded:
        """Return the events of `bodies`, in order; a body may hold several, and is rejected as a whole.

        `joined`, when given, is the bodies separated by single newlines with none inside them. Raises
        DataError when the rows have so many different keys that a batch could not hold them.
        """
        ...
