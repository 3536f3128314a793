"""Which addresses a feed may be asked at: the web, and no way into a private network."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from headrace.errors import Transient, UserError

#: The address is in every event of its feed.
MAX_URL_CHARS: Final = 1_000

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
        raise UserError(f"{_shown(url)} is no address: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise UserError(f"{_shown(url)} is no feed address: it must be http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise UserError(
            f"the address of the feed at {parts.hostname} holds a password, which would be in every event"
        )
    if len(url) > MAX_URL_CHARS or not url.isprintable() or " " in url:
        raise UserError(f"the feed address has spaces or is longer than {MAX_URL_CHARS:,} characters")
    return parts


def _shown(url: str) -> str:
    return repr(re.sub(r"//[^/]*@", "//***@", url[:200]))


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


def redirected(url: str, location: str) -> str:
    """Return the address that `url` redirects to, unchecked; raises `UserError` if it is none."""
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise UserError(f"{url} redirects to {_shown(location)}, which is no address: {error}") from None
