"""One polite and bounded HTTP GET for a feed, which cannot be sent into a private network.

Every hop is resolved first and the connection goes to the very address that was checked, so that a name
which changes its answer in between gains nothing. The configured address itself may be private (a feed of
one's own network); a redirect may lead there only within the same host.
"""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import SplitResult

from headrace.clock import Clock, SystemClock
from headrace.connect.feeds.addresses import (
    Resolve,
    allowed_addresses,
    checked_url,
    redirected,
    system_addresses,
)
from headrace.connect.feeds.arxiv import is_api_url
from headrace.errors import DataError, Transient, UserError
from headrace.limits import MAX_FEED_BYTES

USER_AGENT: Final = "Headrace feed reader"

ACCEPT: Final = "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.5"

#: arXiv's API terms: no more than one request every three seconds.
API_PAUSE_S: Final = 3.0

MAX_REDIRECTS: Final = 5

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_WITHOUT_BODY: Final = _REDIRECTS | {204, 304}


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: `headers` have lower-case names, `body` is unpacked, `url` is where it came from."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Fetch(Protocol):
    """How a poller asks: any status is an answer, not an error."""

    def __call__(self, url: str, headers: Mapping[str, str]) -> Response:
        """GET `url`; raises `Transient` when nothing answers, `UserError` for an address it will not ask."""
        ...


class HttpFetch:
    """GETs over httpx2: a bounded body, a deadline, checked redirects, and pauses for arXiv's API.

    Share one among all pollers of a process, since the pause is for all of them together. Proxies of the
    environment are not used: behind one, the address that is really asked could not be checked.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        resolve: Resolve = system_addresses,
        timeout_s: float = 20.0,
        total_timeout_s: float = 120.0,
        user_agent: str = USER_AGENT,
    ) -> None:
        self._clock = clock or SystemClock()
        self._resolve = resolve
        self._timeout_s, self._total_timeout_s = timeout_s, total_timeout_s
        self._user_agent = user_agent
        self._turn = threading.Lock()
        self._last_api_ns: int | None = None

    def __call__(self, url: str, headers: Mapping[str, str]) -> Response:
        """GET `url`, following at most five redirects; see `Fetch`."""
        configured = checked_url(url)
        for _ in range(MAX_REDIRECTS + 1):
            target = checked_url(url)
            if configured.scheme == "https" and target.scheme == "http":
                raise UserError(f"{configured.hostname} redirects from https to http, which is not followed")
            addresses = allowed_addresses(configured, target, self._resolve)
            response = self._ask_any(url, target, addresses, headers)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location:
                return response
            url = redirected(url, location)
        raise UserError(f"{configured.hostname} redirects more than {MAX_REDIRECTS} times; check the address")

    def _ask_any(
        self, url: str, target: SplitResult, addresses: list[str], headers: Mapping[str, str]
    ) -> Response:
        """Ask the first address that takes the connection."""
        httpx2 = _httpx2()
        problem: Exception | None = None
        for address in addresses:
            self._pause_for_api(url)
            try:
                return self._ask(httpx2, url, target, address, headers)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                problem = error
            except (httpx2.TimeoutException, httpx2.TransportError) as error:
                reason = str(error) or type(error).__name__
                raise Transient(f"{target.hostname} did not finish its answer: {reason}") from None
            except httpx2.InvalidURL as error:
                raise UserError(f"{url[:200]!r} is no feed address: {error}") from None
        raise Transient(f"{target.hostname} cannot be reached: {problem or 'it has no address'}")

    def _ask(
        self, httpx2: Any, url: str, target: SplitResult, address: str, headers: Mapping[str, str]
    ) -> Response:
        whole = httpx2.URL(url)
        sent = {
            **headers,
            "Host": whole.netloc.decode("ascii"),
            "User-Agent": self._user_agent,
            "Accept": ACCEPT,
            "Accept-Encoding": "gzip",
        }
        verify: Any = httpx2.create_ssl_context() if target.scheme == "https" else False
        deadline_ns = self._clock.monotonic_ns() + int(self._total_timeout_s * 1e9)
        with (
            httpx2.Client(trust_env=False, verify=verify, timeout=self._timeout_s) as client,
            client.stream(
                "GET",
                whole.copy_with(host=address, fragment=None),
                headers=sent,
                extensions={"sni_hostname": whole.raw_host.decode("ascii")},
            ) as answer,
        ):
            received = {name.lower(): value for name, value in answer.headers.items()}
            body = b""
            if answer.status_code not in _WITHOUT_BODY:
                body = self._body(answer.iter_raw(), received.get("content-encoding", ""), deadline_ns)
            return Response(answer.status_code, received, body, url)

    def _body(self, chunks: Iterator[bytes], encoding: str, deadline_ns: int) -> bytes:
        """Collect the body, unpacking gzip itself so that a small bomb cannot become a large one."""
        if encoding.strip().lower() not in {"", "identity", "gzip", "x-gzip"}:
            raise DataError(f"the feed is packed as {encoding[:40]!r}, which was not asked for")
        unpack = zlib.decompressobj(wbits=31) if "gzip" in encoding.lower() else None
        body, chunk = bytearray(), b""
        for chunk in chunks:
            room = MAX_FEED_BYTES + 1 - len(body)
            try:
                body += unpack.decompress(chunk, room) if unpack else chunk
            except zlib.error as error:
                raise DataError(f"the feed is not the gzip that it says it is: {error}") from None
            if len(body) > MAX_FEED_BYTES:
                raise DataError(f"the feed has more than {MAX_FEED_BYTES:,} bytes; no more are read")
            if self._clock.monotonic_ns() > deadline_ns:
                raise Transient(f"the feed took longer than {self._total_timeout_s:g} s to arrive")
        if unpack and chunk and not unpack.eof:
            raise Transient("the feed broke off before its end")
        return bytes(body)

    def _pause_for_api(self, url: str) -> None:
        if not is_api_url(url):
            return
        with self._turn:
            if self._last_api_ns is not None:
                since_s = (self._clock.monotonic_ns() - self._last_api_ns) / 1e9
                if since_s < API_PAUSE_S:
                    self._clock.sleep(API_PAUSE_S - since_s)
            self._last_api_ns = self._clock.monotonic_ns()


def _httpx2() -> Any:
    with contextlib.suppress(ImportError):
        import httpx2  # noqa: PLC0415 - optional

        return httpx2
    raise UserError("fetching feeds needs httpx2: pip install 'headrace[feeds]'")
