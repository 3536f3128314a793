"""One polite and bounded HTTP GET for a feed, which cannot be sent into a private network.

Every hop is resolved first and the connection goes to the very address that was checked, so that a name
which changes its answer in between gains nothing. The configured address itself may be private (a feed of
one's own network); a redirect may lead there only within the same host.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

from headrace.clock import Clock, SystemClock
from headrace.connect.feeds.arxiv import is_api_url
from headrace.errors import DataError, Transient, UserError
from headrace.limits import MAX_FEED_BYTES

USER_AGENT: Final = "Headrace feed reader"

ACCEPT: Final = "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.5"

#: arXiv's API terms: no more than one request every three seconds.
API_PAUSE_S: Final = 3.0

MAX_REDIRECTS: Final = 5
#: The address is in every event of its feed.
MAX_URL_CHARS: Final = 1_000

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


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


#: The addresses of a host; raises `OSError` when it has none.
Resolve = Callable[[str, int], list[str]]


def system_addresses(host: str, port: int) -> list[str]:
    """Return the addresses that the machine's resolver gives, in its order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_url(url: str) -> SplitResult:
    """Return the parts of a web address fit for a feed, or raise `UserError`."""
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError as error:
        raise UserError(f"{url[:200]!r} is no address: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise UserError(f"{url[:200]!r} is no feed address: it must be http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise UserError(
            f"the address of the feed at {parts.hostname} holds a password, which would be in every event"
        )
    if len(url) > MAX_URL_CHARS or not url.isprintable() or " " in url:
        raise UserError(f"the feed address has spaces or is longer than {MAX_URL_CHARS:,} characters")
    return parts


def allowed_addresses(configured: SplitResult, target: SplitResult, resolve: Resolve) -> list[str]:
    """Return the addresses that may be asked for `target`, where the user configured `configured`.

    Public addresses always may; private ones on the configured host only; this machine's own only if the
    configured address says so (``localhost`` or a loopback number); link-local ones never. Raises `UserError`
    for others and `Transient` for a host that does not resolve.
    """
    try:
        addresses = resolve(target.hostname or "", target.port or (443 if target.scheme == "https" else 80))
    except (OSError, UnicodeError) as error:
        raise Transient(f"{target.hostname} does not resolve: {error}. Is the network there?") from None
    for address in addresses:
        is_configured_host = target.hostname == configured.hostname
        if not _may_be_asked(_ip(address), configured, is_configured_host):
            via = "" if is_configured_host else f", where {configured.hostname} redirects,"
            raise UserError(
                f"{target.hostname}{via} is at {address}, inside this machine or a private network; "
                "feeds are not asked there. If the feed is really there, configure that very address"
            )
    return addresses


def _may_be_asked(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, configured: SplitResult, is_configured_host: bool
) -> bool:
    if ip.is_loopback:
        return _names_this_machine(configured.hostname or "")
    if ip.is_link_local or ip.is_unspecified or ip.is_multicast:
        return False
    return ip.is_global or (is_configured_host and not ip.is_reserved)


def _names_this_machine(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return _ip(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


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
            url = urljoin(url, location)
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
            if answer.status_code not in _REDIRECTS:
                body = self._body(answer.iter_raw(), received.get("content-encoding", ""), deadline_ns)
            return Response(answer.status_code, received, body, url)

    def _body(self, chunks: Iterator[bytes], encoding: str, deadline_ns: int) -> bytes:
        """Collect the body, unpacking gzip itself so that a small bomb cannot become a large one."""
        if encoding.strip().lower() not in {"", "identity", "gzip", "x-gzip"}:
            raise DataError(f"the feed is packed as {encoding[:40]!r}, which was not asked for")
        unpack = zlib.decompressobj(wbits=31) if "gzip" in encoding.lower() else None
        body = bytearray()
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
        if unpack and not unpack.eof:
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
