"""Request bodies within bounds of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping


class BodyTooLarge(Exception):
    """A body above the limit; nothing more of it was read."""


class BodyTooSlow(Exception):
    """A body that did not arrive in time: a stalled client must not hold a connection for ever."""


async def read_body(
    headers: Mapping[str, str], stream: AsyncIterator[bytes], *, max_bytes: int, timeout_s: float
) -> bytes:
    """Return a request's body, refusing it as soon as its length is announced or seen to be too large."""
    if int_or_zero(headers.get("content-length", "")) > max_bytes:
        raise BodyTooLarge
    pieces, size_bytes = [], 0
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in stream:
                size_bytes += len(piece)
                if size_bytes > max_bytes:
                    raise BodyTooLarge
                pieces.append(piece)
    except TimeoutError:
        raise BodyTooSlow from None
    return b"".join(pieces)


def int_or_zero(text: str) -> int:
    """Return the number that a header gives, 0 for what is none: the server has checked its form."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
