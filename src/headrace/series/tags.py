"""Which tags are meant: by GUID, by how GUIDs begin, or by a pattern with ``*``, ``?`` and ``[]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Final

from headrace.errors import UserError, did_you_mean
from headrace.series.catalogue import Catalogue
from headrace.series.pattern import WILDCARD, matcher
from headrace.series.points import GUID_CHARS, guid_of, guid_text

#: Digits of a GUID that a suggestion has in common with what was asked for.
_LIKE_DIGITS: Final = 4


def chosen_tags(catalogue: Catalogue, tenant: int, tags: str | Iterable[str]) -> Mapping[int, str]:
    """Return the GUIDs of the tags that are meant, by their numbers, in the order of those.

    `tags` is one or several GUIDs or patterns. Raises `UserError` for one that no tag has.
    """
    found: dict[int, str] = {}
    exact: dict[bytes, str] = {}
    texts = [tags] if isinstance(tags, str) or not isinstance(tags, Iterable) else list(tags)
    for text in texts:
        if not isinstance(text, str):
            raise UserError(f"tag {text!r:.60}: expected text, a GUID or how GUIDs begin")
        try:
            if len(text) == GUID_CHARS and not WILDCARD.search(text):
                exact[guid_of(text)] = text.lower()
            else:
                found.update(_matching(catalogue, tenant, text))
        except ValueError as error:
            raise UserError(f"tag {error}") from None
    known = catalogue.find(tenant, list(exact))
    for guid, text in exact.items():
        if guid not in known:
            raise UserError(f"there is no tag {text}. {_near(catalogue, tenant, text)}")
        found[known[guid]] = text
    return dict(sorted(found.items()))


def _matching(catalogue: Catalogue, tenant: int, pattern: str) -> Mapping[int, str]:
    matches = matcher(pattern).fullmatch
    prefix = "".join(takewhile(lambda char: not WILDCARD.match(char), pattern.lower()))
    found = {}
    for code, guid in catalogue.tags(tenant, *_between(prefix)):
        text = guid_text(guid)
        if matches(text):
            found[code] = text
    if not found:
        raise UserError(f"no tag is like {pattern!r}. `headrace tags list` shows what there is")
    return found


def _between(prefix: str) -> tuple[bytes, bytes]:
    """Return GUIDs between which, both included, all lie that begin so."""
    digits = prefix.replace("-", "")[:32]
    return bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))


def _near(catalogue: Catalogue, tenant: int, text: str) -> str:
    near = catalogue.tags(tenant, *_between(text[:_LIKE_DIGITS]))
    hint = did_you_mean(text, [guid_text(guid) for _, guid in near[:100]])
    return hint or f"`headrace tags list --like '{text[:2]}*'` lists some"
