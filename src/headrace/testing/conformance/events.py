"""Events that suites publish: numbered, so that what is lost, doubled or out of order shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from headrace.connect.source import Poll
from headrace.events.batch import ORIGIN
from headrace.events.formats.decoders import decoder_of
from headrace.events.formats.json import rows

Event = dict[str, Any]

#: Letters of one to four bytes, and what formats quote.
_TEXT: Final = 'naïve, "☃" 𝄞; \\ '

_SHOWN: Final = 12


def numbered(first: int, count: int, size_chars: int = 0) -> list[Event]:
    """Return events with the numbers from `first` on, of about so many characters."""
    text = _TEXT + "x" * max(0, size_chars - len(_TEXT))
    return [{"n": number, "text": text} for number in range(first, first + count)]


def numbers_of(poll: Poll) -> list[int]:
    """Return the number of each event of a poll, by what its own format makes of the bodies."""
    decoded = poll.decoded or decoder_of(poll.format, poll.header).decode(poll.bodies, poll.joined)
    assert not decoded.rejects, f"an event was published whole, and {decoded.rejects[0].reason}"
    origins = decoded.batch.frame[ORIGIN].to_list()
    assert origins == list(range(poll.events)), "each body is one event, and each event one row"
    return [int(row["n"]) for row in rows(decoded.batch)]


def check_numbers(found: Sequence[int], expected: Sequence[int], when: str) -> None:
    """Fail if numbers differ, and say in which way."""
    if list(found) == list(expected):
        return
    lost = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    doubled = sorted({number for number in found if list(found).count(number) > 1})
    said = [
        f"{word} {some[:_SHOWN]}"
        for word, some in (("lost", lost), ("never published there", extra), ("doubled", doubled))
        if some
    ]
    raise AssertionError(f"{when}: {'; '.join(said) or f'out of order: {list(found)[:_SHOWN]}'}")
