"""When to ask a feed again: what its server and its channel wish, and back-off; pure functions over time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from headrace.connect.retry import retry_after_s

#: No wish of a server keeps a feed silent for longer: a mistyped header would look like a dead feed.
LONGEST_WAIT_S: Final = 7 * 86_400.0

#: The longest wait and a week of skipped hours; a due time further off was set by a clock that was wrong.
FURTHEST_DUE_S: Final = LONGEST_WAIT_S + 7 * 86_400.0

FIRST_BACKOFF_S: Final = 30.0
LONGEST_BACKOFF_S: Final = 3_600.0

_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


def wished_wait_s(headers: Mapping[str, str], now_us: int) -> float:
    """Return the seconds that an answer's headers (lower-case names) ask for, 0 if nothing.

    Sources: Retry-After, seconds or a date (RFC 9110, 10.2.3); Cache-Control max-age less Age (RFC 9111).
    """
    asked_s = retry_after_s(headers.get("retry-after", ""), now_us)
    return max(min(asked_s, LONGEST_WAIT_S), _fresh_s(headers))


def backoff_s(failures: int, jitter: float) -> float:
    """Return the wait after `failures` in a row: 30 s doubled up to an hour, and up to half as much again.

    `jitter` is from 0 to 1; it keeps readers that failed together from coming back together.
    """
    doublings = min(failures - 1, 10)
    return min(FIRST_BACKOFF_S * 2.0**doublings, LONGEST_BACKOFF_S) * (1 + jitter / 2)


def next_poll_us(
    now_us: int, wait_s: float, skip_hours: tuple[int, ...] = (), skip_days: tuple[str, ...] = ()
) -> int:
    """Return when to ask again: after `wait_s`, then the first hour that a channel does not ask to skip.

    Hours and days are GMT (RSS 2.0, skipHours and skipDays). A channel that skips every hour is not believed.
    """
    due_us = now_us + int(min(max(wait_s, 0.0), LONGEST_WAIT_S) * 1_000_000)
    due = hour = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=due_us)
    for _ in range(24 * 7):
        if hour.hour not in skip_hours and f"{hour:%A}" not in skip_days:
            return due_us if hour is due else int(hour.timestamp()) * 1_000_000
        hour = hour.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return due_us


def _fresh_s(headers: Mapping[str, str]) -> float:
    found = _MAX_AGE.search(headers.get("cache-control", ""))
    age = headers.get("age", "").strip()
    already_s = int(age[:9]) if age.isascii() and age.isdecimal() else 0
    return max(0.0, float(found[1]) - already_s) if found else 0.0
