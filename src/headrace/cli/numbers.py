"""Numbers on the command line, checked where they are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

_LARGEST: Final = 2**63 - 1

#: A year; longer waits are typing errors.
_LONGEST_S: Final = 366 * 86_400.0


def at_least(smallest: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `smallest` on."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = smallest - 1
        if not smallest <= number <= _LARGEST:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {smallest} on, found {text[:40]!r}"
            )
        return number

    return read


def duration(text: str) -> float:
    """Read a length of time that is not negative and no longer than a year of seconds."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"expected a length of time such as 2.5, found {text[:40]!r}")
    return number
