"""A web address as an output: the rows of a block are posted there after the commit, a JSON array a request.

An array, since that is what receivers of webhooks parse; JSON lines are for logs. A request has the same
`Idempotency-Key` each time it is made, so that a target that keeps the keys has each row exactly once; one
that does not may get a request twice, after a crash or a broken connection.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from headrace.clock import Clock, SystemClock
from headrace.connect.event_files import in_blocks
from headrace.connect.post import Answer, Poster
from headrace.connect.retry import NotNow, OnError, Patience
from headrace.connect.sink import Prepared, Refused, Rows, too_large
from headrace.errors import DataError, HeadraceError, Transient, UserError
from headrace.events.formats.json import encode_rows
from headrace.limits import MAX_REQUEST_BYTES, MAX_REQUEST_ROWS

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

    A request that takes longer than `timeout_s` in all is made again. `on_error`, `max_tries` and
    `give_up_seconds` are the output's `Patience`.
    """

    url: str | None = None
    headers: dict[str, str] = {}
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=300)] = 30
    max_rows: Annotated[int, msgspec.Meta(ge=1, le=MAX_REQUEST_ROWS)] = 1000
    on_error: OnError = "retry"
    max_tries: Annotated[int, msgspec.Meta(ge=1)] | None = None
    give_up_seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        _check_url(self.url)
        Patience.of(self.on_error, self.max_tries, self.give_up_seconds)
        for name, value in self.headers.items():
            _check_header(name, value)

    @property
    def patience(self) -> Patience:
        """How long the target is asked again."""
        return Patience.of(self.on_error, self.max_tries, self.give_up_seconds)

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
    """Posts blocks to a web address; `output` is what messages call it.

    `source` tells what is posted from what others post there, and is the same whenever the project is opened.
    """

    def __init__(
        self, output: str, settings: WebhookSettings, source: str, *, clock: Clock | None = None
    ) -> None:
        self._output, self._where, self._max_rows = output, settings.origin, settings.max_rows
        self._source = source
        self.patience = settings.patience
        self._poster = Poster(
            settings.url or "", settings.headers, settings.timeout_s, clock or SystemClock()
        )
        self._posting = _Posting("")

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows as JSON lines, which `deliver` makes arrays of; one that is too large fails."""
        texts = encode_rows(rows.batch)
        return Prepared(str(texts.str.join("\n").item()).encode(), rows.batch.height, too_large(texts))

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Post the rows, cut at the same places and under the same keys each time.

        A block that was taken in part goes on where it stopped, as long as this process lives. Raises
        NotNow when the target cannot take rows for now, DataError for rows and UserError for requests that it
        refuses. Where rows are set aside they are looked for, one by one, and `Refused` names them once all
        others are delivered.
        """
        name = f"{self._source}:{producer}:{sequence}"
        if self._posting.name != name:
            self._posting = _Posting(name)
        first = 0
        for rows in in_blocks(block.split(b"\n"), self._max_rows, MAX_REQUEST_BYTES):
            self._hand_over(rows, first)
            first += len(rows)
        refused, self._posting = self._posting.refused, _Posting("")
        if refused:
            raise Refused(f"{self._named} refuses rows", refused, rest_delivered=True)

    def interrupt(self) -> None:
        """Break off a request that is being made, from a signal handler: `deliver` then raises NotNow."""
        self._poster.interrupt()

    def close(self) -> None:
        """Close the connection."""
        self._poster.close()

    @property
    def _named(self) -> str:
        return f"output '{self._output}': {self._where}"

    def _hand_over(self, rows: list[bytes], first: int) -> None:
        """Post rows that still need it, in halves where they are too large together or hold refused ones."""
        posting = self._posting
        if first + len(rows) <= posting.settled:
            return
        if (first, len(rows)) not in posting.halved:
            answer = self._asked(rows, first)
            alone = len(rows) == 1
            if answer.accepted:
                posting.settled = first + len(rows)
                return
            if alone and answer.status in _BAD_ROWS and self.patience.sets_aside:
                posting.refused[first] = f"output '{self._output}': {self._where} answers {answer}"
                posting.settled = first + 1
                return
            if alone or answer.status not in ({413} | (_BAD_ROWS if self.patience.sets_aside else set())):
                raise self._refused(answer, rows)
            posting.halved.add((first, len(rows)))
        half = len(rows) // 2
        self._hand_over(rows[:half], first)
        self._hand_over(rows[half:], first + half)

    def _asked(self, rows: list[bytes], first: int) -> Answer:
        """Post rows once; `first` is the place of the first. Raises NotNow where asking again may help."""
        body = b"[" + b",".join(rows) + b"]"
        wished_s = 0.0
        try:
            answer = self._poster.post(body, {_KEY_HEADER: _key(self._posting.name, first, len(rows), body)})
        except Transient as error:
            problem = str(error)
        else:
            if not answer.passing:
                return answer
            problem, wished_s = f"it answers {answer}", answer.wished_wait_s
        raise NotNow(
            f"{self._named} does not take the rows now: {problem}",
            wished_s,
            settled=self._posting.settled,
            refused=self._posting.refused,
        )

    def _refused(self, answer: Answer, rows: list[bytes]) -> HeadraceError:
        message = f"{self._named} refuses the rows with {answer}. "
        kept = "Nothing is lost: they are kept, and are delivered first when the job runs again"
        if answer.status in _BAD_ROWS:
            shown = rows[0][:_SHOWN_BYTES].decode("utf-8", "replace")
            advice = 'on_error = "dead-letter" sets such rows aside'
            return DataError(f"{message}The first of {len(rows):,} is {shown}. {kept}; {advice}")
        if 300 <= answer.status < 400:
            return UserError(f"{message}Redirects are not followed: set the url to where it leads. {kept}")
        return UserError(f"{message}Check the url and the headers of the output. {kept}")


class _Posting:
    """How far the target has come with a block: its first `settled` rows are taken, or refused.

    `halved` has what was refused as a whole, by the place and the number of the rows.
    """

    def __init__(self, name: str) -> None:
        self.name, self.settled = name, 0
        self.halved: set[tuple[int, int]] = set()
        self.refused: dict[int, str] = {}


def _key(name: str, first: int, rows: int, body: bytes) -> str:
    """Return what a request is known by for ever.

    The place of its rows in the block stays the same however the block was halved. The digest keeps apart
    what a project sends that was put back from an older copy.
    """
    return f"{name}:{first}+{rows}:{hashlib.sha256(body).hexdigest()[:16]}"
