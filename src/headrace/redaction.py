"""Secrets of this process, so that whatever is printed can leave them out."""

from __future__ import annotations

from typing import Final

_secrets: set[str] = set()

#: Shorter values would blot out ordinary words, and protect nothing.
_SHORTEST: Final = 4


def remember_secret(value: str) -> None:
    """Note a value that must never be shown."""
    if len(value) >= _SHORTEST:
        _secrets.add(value)


def redacted(text: str) -> str:
    """Return `text` with every known secret replaced by ``***``."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
