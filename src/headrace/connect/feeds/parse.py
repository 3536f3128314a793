"""A feed document to papers: arXiv API Atom, RSS 1.0, RSS 2.0, rss.arxiv.org Atom, and any other feed.

feedparser reads the forms; it is handed checked text, never an address, and makes no request. Its HTML
cleaning is off: it would take ``$a<b$`` in an abstract for a tag and drop the rest.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from headrace.connect.feeds import arxiv
from headrace.connect.feeds.document import Document, checked_document
from headrace.connect.feeds.paper import Paper
from headrace.connect.feeds.text import author_names, collapsed, text_of_html
from headrace.errors import DataError, HeadraceError, Transient, UserError

#: Longer ids are replaced by their digest, so that what a feed remembers stays small.
MAX_ID_CHARS: Final = 256

_ARXIV_NAMESPACE: Final = "http://arxiv.org/schemas/atom"
_API_ERROR_ID: Final = re.compile(r"https?://(?:\w+\.)?arxiv\.org/api/errors", re.IGNORECASE)
_PASSING: Final = re.compile(
    r"timed?[- ]?out|try again|temporar|unavailable|overload|\brate\b|internal|too many", re.IGNORECASE
)
_MARKUP: Final = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Feed:
    """The papers of one document in its order, and the document itself for what it asks of its readers."""

    papers: tuple[Paper, ...]
    document: Document


def parse_feed(body: bytes, *, url: str | None = None, content_type: str = "") -> Feed:
    """Return the papers in `body`, the bytes of a feed document; no papers is no error.

    `url` is where it came from: it is kept in each paper and makes relative links whole. Raises `DataError`
    for bytes that are no feed, and for arXiv's error answer (a feed with one entry titled ``Error``)
    `UserError`, or `Transient` if it is of the passing kind, with arXiv's own text.
    """
    document = checked_document(body, content_type)
    parsed = _parsed(document)
    try:
        _raise_api_error(parsed.entries)
        prefix = next((p for p, uri in parsed.namespaces.items() if uri == _ARXIV_NAMESPACE), "arxiv")
        papers = tuple(_paper(entry, parsed.version, f"{prefix}_", url) for entry in parsed.entries)
    except HeadraceError:
        raise
    except Exception as error:  # feedparser and urllib raise what they like on hostile values
        raise DataError(f"an entry of the feed cannot be read: {error}") from None
    return Feed(papers, document)


def _parsed(document: Document) -> Any:
    feedparser = _feedparser()
    try:
        parsed = feedparser.parse(
            io.BytesIO(document.text.encode()),
            response_headers={"content-type": "application/xml; charset=utf-8"},
            sanitize_html=False,
            resolve_relative_uris=False,
        )
    except Exception as error:  # a parser fed by strangers may fail in any way; the user needs one answer
        raise DataError(f"the feed cannot be read: {error}") from None
    if parsed.bozo:
        raise DataError(f"the feed cannot be read: {parsed.bozo_exception}")
    return parsed


def _feedparser() -> Any:
    try:
        import feedparser  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("reading feeds needs feedparser: pip install 'headrace[feeds]'") from None
    return feedparser


def _raise_api_error(entries: list[Any]) -> None:
    if len(entries) != 1 or not _API_ERROR_ID.match(entries[0].get("id", "")):
        return
    text = collapsed(entries[0].get("summary", "")) or "no reason given"
    if _PASSING.search(text):
        raise Transient(f"arXiv's API answered with an error: {text}")
    raise UserError(f"arXiv's API refused the query: {text}. Change the feed's address")


def _paper(entry: Any, form: str, prefix: str, url: str | None) -> Paper:
    link = _link(entry.get("link"), url)
    number = arxiv.arxiv_id(entry.get("id", "")) or arxiv.arxiv_id(link or "")
    if number is None:
        meaning = _of_anyone(entry, link)
    elif form == "rss10":
        meaning = _of_arxiv_until_2024(entry, number)
    else:
        meaning = _of_arxiv(entry, number, prefix)
    return Paper(
        id=meaning.id,
        version=meaning.version,
        title=meaning.title,
        doc=meaning.doc,
        authors=tuple(meaning.authors),
        primary=meaning.primary,
        categories=tuple(meaning.categories),
        paper_class=arxiv.class_of(meaning.primary),
        published=_time(entry, "published_parsed"),
        updated=_time(entry, "updated_parsed"),
        announce_type=meaning.announce_type,
        link=link,
        feed=url,
    )


class _Meaning(NamedTuple):
    """The fields that each form writes in its own way."""

    id: str
    title: str
    doc: str
    authors: list[str]
    categories: list[str]
    version: int | None = None
    primary: str | None = None
    announce_type: arxiv.Announcement | None = None


def _of_anyone(entry: Any, link: str | None) -> _Meaning:
    title, doc = _plain(entry, "title"), _plain(entry, "summary")
    own_id = entry.get("id") or link or ""
    if not own_id or len(own_id) > MAX_ID_CHARS:
        own_id = "sha256:" + hashlib.sha256((own_id or f"{title}\n{doc}").encode()).hexdigest()
    return _Meaning(own_id, title, doc, _people(entry), _terms(entry))


def _of_arxiv(entry: Any, number: arxiv.ArxivId, prefix: str) -> _Meaning:
    """Read an entry of the API or of rss.arxiv.org: plain text, escaped once, whatever the form's default."""
    named = entry.get(f"{prefix}primary_category")
    categories = [term for term in _terms(entry) if arxiv.is_category(term)]
    if named:  # only the API names it, and has one element for each author
        primary, authors = named.get("term"), _people(entry)
    else:
        primary = categories[0] if categories else None
        authors = [name for line in _people(entry) for name in author_names(line)]
    return _Meaning(
        id=number.id,
        title=collapsed(entry.get("title", "")),
        doc=collapsed(arxiv.without_prefix(entry.get("summary", ""))),
        authors=authors,
        categories=list(dict.fromkeys([primary, *categories] if primary else categories)),
        version=number.version,
        primary=primary,
        announce_type=arxiv.announcement(entry.get(f"{prefix}announce_type")),
    )


def _of_arxiv_until_2024(entry: Any, number: arxiv.ArxivId) -> _Meaning:
    """Read an entry of arXiv's RSS 1.0: HTML inside, and everything about the paper in its title."""
    text = _plain(entry, "title")
    title = arxiv.old_title(text) or arxiv.OldTitle(text, number, None, None)
    return _Meaning(
        id=title.id.id,
        title=title.title,
        doc=_plain(entry, "summary"),
        authors=[name for line in _people(entry) for name in author_names(line)],
        categories=[title.category] if title.category else [],
        version=title.id.version,
        primary=title.category,
        announce_type=title.announcement,
    )


def _plain(entry: Any, key: str) -> str:
    """Return a text as plain text; a summary that the entry does not have is its content."""
    text = entry.get(key, "")
    details = [entry.get(f"{key}_detail"), *entry.get("content", ())]
    form = next((detail.get("type") for detail in details if detail), None)
    return collapsed(text_of_html(text) if form in _MARKUP else text)


def _people(entry: Any) -> list[str]:
    names = (collapsed(_mended(author.get("name") or "")) for author in entry.get("authors", ()))
    return [name for name in names if name]


def _mended(text: str) -> str:
    """Return UTF-8 that someone read as Latin-1 as it was meant; feedparser does so for all but names."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _terms(entry: Any) -> list[str]:
    return [term for tag in entry.get("tags", ()) if (term := collapsed(tag.get("term") or ""))]


def _link(link: str | None, url: str | None) -> str | None:
    """Return an absolute web address, or None: a ``javascript:`` link is no link."""
    try:
        whole = urljoin(url or "", link.strip()) if link else ""
        return whole if urlsplit(whole).scheme in {"http", "https"} else None
    except ValueError:
        return None


def _time(entry: Any, key: str) -> str | None:
    # asked for first, since feedparser answers for a missing `updated` with `published` and a warning
    parsed = entry.get(key) if key in entry else None
    if not parsed:
        return None
    try:
        year, month, day, hour, minute, second = parsed[:6]
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)  # 60: a leap second
    except ValueError:
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
