"""Bounded HTTP POSTs over one connection: a deadline for the whole request, no redirects, no proxies."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.clock import Clock
from headrace.connect.retry import retry_after_s
from headrace.errors import Transient, UserError

#: Of an answer no more is read, and of it no more is shown.
_ANSWER_BYTES: Final = 16 * 1024
_SHOWN_CHARS: Final = 200

#: "Try again": timeouts, a request with this key that is still being worked on, too early, too many.
_PASSING: Final = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a target answers: a status, the beginning of its body, and how long it wishes to be left alone."""

    status: int
    said: str
    wished_wait_s: float

    @property
    def accepted(self) -> bool:
        """Whether the target has taken what was posted."""
        return 200 <= self.status < 300

    @property
    def passing(self) -> bool:
        """Whether the same request may go through later."""
        return self.status >= 500 or self.status in _PASSING

    def __str__(self) -> str:
        return f"{self.status}" + (f": {self.said}" if self.said else "")


class Poster:
    """Posts JSON to one address; the connection is kept open from request to request.

    `timeout_s` is for a request as a whole. Raises `UserError` for an address that is none.
    """

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float, clock: Clock) -> None:
        self._httpx2 = httpx2 = _httpx2()
        self._timeout_s, self._clock = timeout_s, clock
        self._socket: socket.socket | None = None
        own = {"content-type": "application/json", "user-agent": "Headrace", "accept": "*/*"}
        given = {name.lower(): value for name, value in headers.items()}
        self._headers = own | given | {"accept-encoding": "identity"}
        try:
            self._url = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise UserError(f"no web address: {error}") from None
        verify: Any = httpx2.create_ssl_context() if self._url.scheme == "https" else False
        one = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
        self._client = httpx2.Client(trust_env=False, verify=verify, timeout=timeout_s, limits=one)

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Make one request; raises `Transient` when there is no answer within the time."""
        httpx2 = self._httpx2
        with self._deadline() as late:
            try:
                with self._client.stream(
                    "POST",
                    self._url,
                    content=body,
                    headers=self._headers | dict(headers),
                    extensions={"trace": self._trace},
                ) as answer:
                    return self._read(answer)
            except (httpx2.TransportError, httpx2.StreamError) as error:
                timed_out = late.is_set() or isinstance(error, httpx2.TimeoutException)
                reason = f"no answer within {self._timeout_s:g} s" if timed_out else str(error).rstrip(".")
                raise Transient(reason or type(error).__name__) from None

    def interrupt(self) -> None:
        """Break off a request that waits for an answer, from a signal handler; `post` raises `Transient`."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Of a TLS socket too: the reading thread is to see nothing but a connection that ended.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _read(self, answer: Any) -> Answer:
        """Return the answer with the beginning of its body; the status stands even if the body breaks off."""
        body = bytearray()
        with contextlib.suppress(self._httpx2.TransportError):
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) > _ANSWER_BYTES:
                    break
        text = body.decode("utf-8", "replace")
        said = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        wished_s = retry_after_s(answer.headers.get("retry-after", ""), self._clock.now_us())
        return Answer(answer.status_code, said[:_SHOWN_CHARS], wished_s)

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[threading.Event]:
        """End what takes longer than `timeout_s` in all: the client's own timeouts are for each read."""
        late = threading.Event()

        def cut() -> None:
            late.set()
            self.interrupt()

        timer = threading.Timer(self._timeout_s, cut)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self._socket = info["return_value"].get_extra_info("socket")


def _httpx2() -> Any:
    with contextlib.suppress(ImportError):
        import httpx2  # noqa: PLC0415 - optional

        return httpx2
    raise UserError("posting to a web address needs httpx2: pip install 'headrace[http]'")
