"""Polling a feed: politely, and without asking twice for what was found.

Polite: conditional requests, the server's Retry-After and max-age, the channel's ttl, skipHours and
skipDays, at most one request per `interval_s`, back-off with jitter after an error. A poll never waits: one
that is too early asks nothing and returns nothing.

What a poll finds stays in its state as `pending`, and is returned by every poll, until it is acknowledged:
`publish.py` says why.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from msgspec.structs import replace

from headrace.clock import Clock
from headrace.connect.feeds.addresses import checked_url
from headrace.connect.feeds.arxiv import is_api_url
from headrace.connect.feeds.fetch import API_PAUSE_S, Fetch, Response
from headrace.connect.feeds.parse import Feed, parse_feed
from headrace.connect.feeds.schedule import FURTHEST_DUE_S, backoff_s, next_poll_us, wished_wait_s
from headrace.connect.feeds.state import FeedState, recovered, unseen
from headrace.errors import DataError, HeadraceError, Transient, UserError
from headrace.limits import MAX_EVENT_BYTES, MAX_PRODUCER_CHARS

#: arXiv's feeds change once a day; a quarter of an hour is soon enough for any.
DEFAULT_INTERVAL_S: Final = 900.0

SHORTEST_INTERVAL_S: Final = 1.0

_PASSING_STATUSES: Final = frozenset({408, 425, 429, *range(500, 600)})


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll gave.

    `outcome`: ``waiting`` (not due, nothing asked), ``pending`` (a block again that was not acknowledged),
    ``unchanged`` (304), ``read``, or ``failed`` with `error`; a failure is in the state as back-off, so save
    it too. `oversize` names papers that no hub takes.
    """

    events: tuple[bytes, ...]
    state: FeedState
    outcome: Literal["waiting", "pending", "unchanged", "read", "failed"]
    error: HeadraceError | None = None
    oversize: tuple[str, ...] = ()


class FeedPoller:
    """Asks one feed for its papers; `publish_new` brings what it finds into a hub."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Fetch,
        clock: Clock,
        state: FeedState | None = None,
        interval_s: float = DEFAULT_INTERVAL_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        checked_url(url)
        if interval_s < SHORTEST_INTERVAL_S:
            raise UserError(
                f"interval_s is {interval_s:g}; a feed is asked every {SHORTEST_INTERVAL_S:g} s at most"
            )
        self.url = url
        self.state = state or FeedState(url=url)
        if self.state.url != url:
            raise UserError(f"the state of the feed {self.state.url} was handed to {url}")
        self._fetch, self._clock, self._jitter = fetch, clock, jitter
        self._interval_s = max(interval_s, API_PAUSE_S) if is_api_url(url) else interval_s

    @property
    def producer(self) -> str:
        """The producer id under which the events of this feed are published, ``feed:<url>``."""
        name = f"feed:{self.url}"
        if len(name) <= MAX_PRODUCER_CHARS:
            return name
        return f"feed:sha256:{hashlib.sha256(self.url.encode()).hexdigest()}"

    def wait_s(self) -> float:
        """Return the seconds until the feed may be asked again, 0 if now."""
        wait_s = (self.state.next_poll_us - self._clock.now_us()) / 1_000_000
        return wait_s if 0 < wait_s <= FURTHEST_DUE_S and not self.state.pending else 0.0

    def poll(self) -> Polled:
        """Ask the feed if it is due; errors of the feed or the network are returned, not raised."""
        if self.state.pending:
            return Polled(tuple(event.encode() for event in self.state.pending), self.state, "pending")
        if self.wait_s() > 0:
            return Polled((), self.state, "waiting")
        response = None
        try:
            response = self._fetch(self.url, self._conditions())
            feed = _feed(response, self.url)
        except (UserError, DataError, Transient) as error:
            self.state = self._after_failure(response)
            return Polled((), self.state, "failed", error)
        if feed is None:
            self.state = self._after_answer(self.state, response)
            return Polled((), self.state, "unchanged")
        return self._take(feed, response)

    def acknowledge(self) -> FeedState:
        """Return the state in which the last block is known to be in the hub."""
        self.state = replace(self.state, pending=())
        return self.state

    def catch_up(self, bodies: Iterable[bytes], sequence: int) -> None:
        """Make the state agree with a hub whose events are `bodies` and whose last block is `sequence`."""
        self.state = recovered(self.state, bodies, sequence, self._clock.now_us())

    def _conditions(self) -> dict[str, str]:
        conditions = {"If-None-Match": self.state.etag, "If-Modified-Since": self.state.last_modified}
        return {name: value for name, value in conditions.items() if value}

    def _take(self, feed: Feed, response: Response) -> Polled:
        papers, seen = unseen(feed.papers, self.state.seen, self._clock.now_us())
        events = [paper.event() for paper in papers]
        fitting = tuple(event for event in events if len(event) <= MAX_EVENT_BYTES)
        oversize = tuple(
            paper.id for paper, event in zip(papers, events, strict=True) if len(event) > MAX_EVENT_BYTES
        )
        state = replace(
            self.state,
            sequence=self.state.sequence + (1 if fitting else 0),
            pending=tuple(event.decode() for event in fitting),
            seen=seen,
            etag=response.headers.get("etag"),
            last_modified=response.headers.get("last-modified"),
            ttl_minutes=feed.document.ttl_minutes,
            skip_hours=feed.document.skip_hours,
            skip_days=feed.document.skip_days,
        )
        self.state = self._after_answer(state, response)
        return Polled(fitting, self.state, "read", oversize=oversize)

    def _after_answer(self, state: FeedState, response: Response) -> FeedState:
        now_us = self._clock.now_us()
        wait_s = max(self._interval_s, wished_wait_s(response.headers, now_us), state.ttl_minutes * 60.0)
        due_us = next_poll_us(now_us, wait_s, state.skip_hours, state.skip_days)
        return replace(state, next_poll_us=due_us, failures=0)

    def _after_failure(self, response: Response | None) -> FeedState:
        now_us = self._clock.now_us()
        failures = self.state.failures + 1
        wished_s = wished_wait_s(response.headers, now_us) if response else 0.0
        wait_s = max(self._interval_s, wished_s, backoff_s(failures, self._jitter()))
        return replace(self.state, next_poll_us=next_poll_us(now_us, wait_s), failures=failures)


def _feed(response: Response, url: str) -> Feed | None:
    """Return the feed in an answer, None if it has not changed, or raise what the answer means."""
    if response.status == 304:
        return None
    content_type = response.headers.get("content-type", "")
    if 200 <= response.status < 300:
        return parse_feed(response.body, url=url, content_type=content_type)
    passing = response.status in _PASSING_STATUSES
    try:
        parse_feed(response.body, url=url, content_type=content_type)
    except (UserError, Transient) as error:  # arXiv's API says in a feed what was wrong
        raise Transient(str(error)) if passing else error from None
    except DataError:
        pass
    problem = f"{url} answered with HTTP status {response.status}"
    raise Transient(problem) if passing else UserError(f"{problem}; check the address")
