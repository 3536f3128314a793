"""A web address as an output: the rows of a block are posted there after the commit, a JSON array a request.

An array, since that is what receivers of webhooks parse; JSON lines are for logs. A request has the same
`Idempotency-Key` each time it is made, so that a target that keeps the keys has each row exactly once; one
that does not may get a request twice, after a crash or a broken connection.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from headrace.clock import Clock, SystemClock
from headrace.connect.event_files import in_blocks
from headrace.connect.post import Answer, Poster
from headrace.connect.retry import Wait, backoff_s, until_signalled
from headrace.connect.sink import Prepared, Rows, too_large
from headrace.errors import DataError, HeadraceError, Transient, UserError
from headrace.events.formats.json import encode_rows
from headrace.limits import MAX_REQUEST_BYTES, MAX_REQUEST_ROWS

#: A request is made this often before the instance starts anew, and looks whether the job is to stop.
TRIES: Final = 5

#: Waits between two tries; a longer Retry-After counts as the longest, so that a job still notices its end.
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 30.0

#: The rows themselves are refused, not the request.
_BAD_ROWS: Final = frozenset({400, 413, 422})
_SHOWN_BYTES: Final = 200

_KEY_HEADER: Final = "idempotency-key"
_OWN_HEADERS: Final = frozenset({_KEY_HEADER, "content-length", "transfer-encoding", "connection"})
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")


class WebhookSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="webhook", tag_field="kind"
):
    """``kind = "webhook"``: rows are posted to `url` as JSON arrays of at most `max_rows`, with `headers`.

    A request that takes longer than `timeout_s` in all is made again.
    """

    url: str | None = None
    headers: dict[str, str] = {}
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=300)] = 30
    max_rows: Annotated[int, msgspec.Meta(ge=1, le=MAX_REQUEST_ROWS)] = 1000

    def __post_init__(self) -> None:
        _check_url(self.url)
        for name, value in self.headers.items():
            _check_header(name, value)

    @property
    def origin(self) -> str:
        """The part of the address that holds no secret: paths and queries of webhooks often do."""
        parts = urlsplit(self.url or "")
        return f"{parts.scheme}://{parts.netloc}"

    def __repr__(self) -> str:
        headers = dict.fromkeys(self.headers, "***")
        return (
            f"WebhookSettings(url={self.origin + '/***'!r}, headers={headers}, "
            f"timeout_s={self.timeout_s:g}, max_rows={self.max_rows})"
        )


def _check_url(url: str | None) -> None:
    """Raise ValueError for what no request can be made to; the message shows nothing that may be secret."""
    if not url:
        raise ValueError("url is missing: expected the address that rows are posted to")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("url is no web address: expected http:// or https://, a host, and no spaces")
    if "@" in parts.netloc:
        raise ValueError(
            "url holds a name or password, which messages would show: put it into headers, for example "
            '{ Authorization = "Bearer ${TOKEN}" }'
        )


def _check_header(name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"headers: {name[:60]!r} is no header, or its value is not one line of plain ASCII")
    if name.lower() in _OWN_HEADERS:
        raise ValueError(f"headers: {name} is set by Headrace itself; leave it out")


class WebhookSink:
    """Posts blocks to a web address; `output` is what messages call it."""

    def __init__(
        self,
        output: str,
        settings: WebhookSettings,
        *,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
        waiting: Callable[[], AbstractContextManager[Wait]] = until_signalled,
    ) -> None:
        self._output, self._where, self._max_rows = output, settings.origin, settings.max_rows
        self._jitter, self._waiting = jitter, waiting
        self._poster = Poster(
            settings.url or "", settings.headers, settings.timeout_s, clock or SystemClock()
        )

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows as JSON lines, which `deliver` makes arrays of; one that is too large fails."""
        texts = encode_rows(rows.batch)
        return Prepared(str(texts.str.join("\n").item()).encode(), rows.batch.height, too_large(texts))

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Post the rows, cut at the same places and under the same keys each time.

        Raises Transient when the target cannot take them for now, or a signal comes while waiting for it;
        DataError for rows and UserError for requests that it refuses. All are for the block to be delivered
        again, by this process or another.
        """
        first = 0
        with self._waiting() as wait:
            for rows in in_blocks(block.split(b"\n"), self._max_rows, MAX_REQUEST_BYTES):
                self._hand_over(rows, f"{producer}:{sequence}", first, wait)
                first += len(rows)

    def close(self) -> None:
        """Close the connection."""
        self._poster.close()

    def _hand_over(self, rows: list[bytes], name: str, first: int, wait: Wait) -> None:
        """Post rows, in halves where they are too large together; `first` is the place of the first."""
        body = b"[" + b",".join(rows) + b"]"
        answer = self._insist(body, _key(name, first, len(rows), body), wait)
        if answer.accepted:
            return
        if answer.status != 413 or len(rows) == 1:
            raise self._refused(answer, rows)
        half = len(rows) // 2
        self._hand_over(rows[:half], name, first, wait)
        self._hand_over(rows[half:], name, first + half, wait)

    def _insist(self, body: bytes, key: str, wait: Wait) -> Answer:
        """Post until there is an answer that asking again would not change."""
        waited_s = 0.0
        for failures in range(1, TRIES + 1):
            answer, problem = self._asked(body, key)
            if answer is not None and not answer.passing:
                return answer
            own_s = backoff_s(failures, FIRST_WAIT_S, LONGEST_WAIT_S, self._jitter())
            wished_s = 0.0 if answer is None else answer.wished_wait_s
            pause_s = min(max(own_s, wished_s), LONGEST_WAIT_S)
            # After the last try too: whoever starts anew must not ask sooner than the target wishes.
            if wait(pause_s):
                raise self._unavailable(problem, "This process was asked to end meanwhile")
            waited_s += pause_s
            if waited_s >= LONGEST_WAIT_S:
                break
        raise self._unavailable(problem, f"It was asked {failures} times, for the time being")

    def _asked(self, body: bytes, key: str) -> tuple[Answer | None, str]:
        """Post once; returns the answer if there is one, and what is wrong if anything is."""
        try:
            answer = self._poster.post(body, {_KEY_HEADER: key})
        except Transient as error:
            return None, str(error)
        return answer, f"it answers {answer}"

    def _unavailable(self, problem: str, more: str) -> Transient:
        return Transient(
            f"output '{self._output}': {self._where} does not take the rows now: {problem}. {more}. "
            "Nothing is lost: they are kept, and are delivered first"
        )

    def _refused(self, answer: Answer, rows: list[bytes]) -> HeadraceError:
        message = f"output '{self._output}': {self._where} refuses the rows with {answer}. "
        kept = "Nothing is lost: they are kept, and are delivered first when the job runs again"
        if answer.status in _BAD_ROWS:
            shown = rows[0][:_SHOWN_BYTES].decode("utf-8", "replace")
            return DataError(f"{message}The first of {len(rows):,} is {shown}. {kept}")
        if 300 <= answer.status < 400:
            return UserError(f"{message}Redirects are not followed: set the url to where it leads. {kept}")
        return UserError(f"{message}Check the url and the headers of the output. {kept}")


def _key(name: str, first: int, rows: int, body: bytes) -> str:
    """Return what a request is known by for ever.

    The place of its rows in the block stays the same however the block was halved. The digest keeps apart
    what projects of the same names send, and the blocks of a project that was begun anew.
    """
    return f"{name}:{first}+{rows}:{hashlib.sha256(body).hexdigest()[:16]}"
