"""What arXiv means by its ids, categories, titles and prefixes; pure functions over text.

Sources: arXiv's pages on identifiers, on its category taxonomy, on the API and on the RSS specification.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Announcement = Literal["new", "cross", "replace", "replace-cross"]

_ID: Final = re.compile(
    r"(?:https?://(?:\w+\.)?arxiv\.org/abs/|oai:arxiv\.org:|arxiv:)"
    r"(?P<id>\d{4}\.\d{4,5}|(?P<archive>[a-z-]+)(?:\.[a-z]{2})?/(?P<number>\d{7}))"
    r"(?:v(?P<version>\d{1,4}))?",
    re.IGNORECASE,
)
_CATEGORY: Final = re.compile(r"[a-z]+(?:-[a-z]+)*(?:\.[A-Za-z]+(?:-[a-z]+)*)?")
_OLD_TITLE: Final = re.compile(
    r"\.?\s*\((?P<id>arXiv:\S+)\s+\[(?P<category>[^\]\s]+)\](?P<marks>[A-Z ]*)\)\s*$"
)
_PREFIX: Final = re.compile(
    r"\s*arXiv:\S+\s+Announce Type:\s*(?P<type>[a-z-]+)\s+Abstract:\s?", re.IGNORECASE
)
_API_URL: Final = re.compile(r"https?://(?:export\.)?arxiv\.org(?::\d+)?/api/", re.IGNORECASE)

_CLASSES: Final = {
    "math": {"math", "alg-geom", "dg-ga", "funct-an", "q-alg"},
    "compsci": {"cs", "cmp-lg"},
    "bio": {"q-bio"},
    "finance": {"q-fin"},
    "Physics": {
        *("astro-ph", "cond-mat", "gr-qc", "hep-ex", "hep-lat", "hep-ph", "hep-th", "math-ph", "nlin"),
        *("nucl-ex", "nucl-th", "physics", "quant-ph"),
        # archives of before 1999, since folded into nlin, cond-mat and physics
        *("acc-phys", "adap-org", "ao-sci", "atom-ph", "bayes-an", "chao-dyn", "chem-ph", "comp-gas"),
        *("mtrl-th", "patt-sol", "plasm-ph", "solv-int", "supr-con"),
    },
}
_CLASS_OF_ARCHIVE: Final = {archive: name for name, archives in _CLASSES.items() for archive in archives}


class ArxivId(NamedTuple):
    """A paper's id without version, and its version where one is given."""

    id: str
    version: int | None


class OldTitle(NamedTuple):
    """What an RSS 1.0 title says: the title proper, the id, the primary category and the announcement."""

    title: str
    id: ArxivId
    category: str | None
    announcement: Announcement | None


def arxiv_id(text: str) -> ArxivId | None:
    """Return the id in an arXiv address, ``oai:`` or ``arXiv:`` form, or None if `text` is no such thing.

    The subject of an old id is dropped (``math.GT/0309136`` is filed as ``math/0309136``).
    """
    found = _ID.fullmatch(text.strip())
    if not found:
        return None
    number = f"{found['archive'].lower()}/{found['number']}" if found["archive"] else found["id"]
    return ArxivId(number, int(found["version"]) if found["version"] else None)


def is_category(term: str) -> bool:
    """Return whether `term` looks like an arXiv category; the API lists MSC and ACM classes among them."""
    return _CATEGORY.fullmatch(term) is not None


def class_of(primary: str | None) -> str | None:
    """Return Physics, math, compsci, bio or finance for a primary category, None for every other one."""
    return _CLASS_OF_ARCHIVE.get(primary.partition(".")[0]) if primary else None


def announcement(text: str | None) -> Announcement | None:
    """Return the announce type that `text` names, or None."""
    match (text or "").strip().lower():
        case "new" | "cross" | "replace" | "replace-cross" as known:
            return known
        case _:
            return None


def old_title(text: str) -> OldTitle | None:
    """Take apart an RSS 1.0 title, ``Title. (arXiv:1805.06430v2 [nucl-th] UPDATED)``, or return None."""
    found = _OLD_TITLE.search(text)
    number = arxiv_id(found["id"]) if found else None
    if not found or not number:
        return None
    updated, crossed = "UPDATED" in found["marks"], "CROSS" in found["marks"]
    kind: Announcement = "replace" if updated else "new"
    if crossed:
        kind = "replace-cross" if updated else "cross"
    return OldTitle(text[: found.start()], number, found["category"], kind)


def without_prefix(description: str) -> str:
    """Return a description of rss.arxiv.org without ``arXiv:<id> Announce Type: <type> Abstract:``."""
    found = _PREFIX.match(description)
    return description[found.end() :] if found else description


def is_api_url(url: str) -> bool:
    """Return whether `url` asks arXiv's API, whose terms allow one request in three seconds."""
    return _API_URL.match(url) is not None
