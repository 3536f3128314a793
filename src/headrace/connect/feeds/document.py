"""A feed document's bytes, checked before any feed parser sees them.

One pass of Expat over the text refuses, with line and column, what is not XML, is no feed, declares entities
(the "billion laughs" bomb and its kin) or is large in a way that would make a parser crawl.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from headrace.errors import DataError
from headrace.limits import MAX_FEED_BYTES, MAX_FEED_DEPTH, MAX_FEED_ENTRIES

#: Categories of one entry; feedparser compares each with all before it.
MAX_CATEGORIES: Final = 1_000

#: Attributes of one element; feedparser's work is quadratic in them.
MAX_ATTRIBUTES: Final = 100

#: Letters without a space in a person's name; feedparser's search for an address is quadratic in them.
MAX_NAME_WORD_CHARS: Final = 256

_ROOTS: Final = frozenset({"rss", "feed", "rdf"})
_ENTRIES: Final = frozenset({"item", "entry"})
_CATEGORIES: Final = frozenset({"category", "keywords", "subject"})
_PERSONS: Final = frozenset({"author", "creator", "managingeditor", "webmaster", "publisher"})
_SCHEDULE: Final = frozenset({"ttl", "hour", "day"})

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\x00?\x00", "utf-16-le"),
    (b"\x00<\x00?", "utf-16-be"),
)
#: Character sets that documents are really written in; Python's other codecs (idna, punycode) can crawl.
_CHARACTER_SETS: Final = ("utf", "ascii", "iso8859", "cp", "koi8", "gb", "big5", "shift_jis", "euc", "mac")
_DECLARATION: Final = re.compile(r"\A\s*<\?xml\b[^>]*\?>")
_DECLARED_ENCODING: Final = re.compile(rb"""<\?xml\b[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9._-]+)""", re.IGNORECASE)
_HTML: Final = re.compile(r"<(!doctype\s+)?html\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """A well-formed feed document without entity declarations.

    `text` has blanks for its XML declaration, so that nothing in it speaks of bytes. `ttl_minutes`,
    `skip_hours` (0-23, GMT) and `skip_days` (``Monday`` ...) are what an RSS 2.0 channel asks of its readers.
    """

    text: str
    ttl_minutes: int = 0
    skip_hours: tuple[int, ...] = ()
    skip_days: tuple[str, ...] = ()


def checked_document(body: bytes, content_type: str = "") -> Document:
    """Return the document in `body`, or raise `DataError` saying what is wrong with it and where.

    The encoding is that of the byte-order mark, else of the charset in `content_type`, else of the XML
    declaration, else UTF-8 (RFC 7303, section 3); a byte that is not of it is an error, never a guess.
    """
    if len(body) > MAX_FEED_BYTES:
        raise DataError(f"the feed has {len(body):,} bytes; at most {MAX_FEED_BYTES:,} are read")
    text = _DECLARATION.sub(_blank, _decoded(body, content_type))
    if not text.strip():
        raise DataError("the feed is empty: no bytes where an RSS or Atom document should be")
    if _HTML.match(text.lstrip()):
        raise DataError(
            "this is a web page (HTML), not a feed: open the address in a browser and look for its RSS link"
        )
    gate = _Gate()
    try:
        gate.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise DataError(f"the feed is not well-formed XML: {error}") from None
    return Document(text, gate.ttl_minutes, tuple(gate.skip_hours), tuple(gate.skip_days))


def _blank(declaration: re.Match[str]) -> str:
    """Return blanks of the same lines and columns, so that errors still point at the right place."""
    return re.sub(r"[^\n]", " ", declaration[0])


def _decoded(body: bytes, content_type: str) -> str:
    name = _encoding(body, content_type)
    try:
        normal = codecs.lookup(name).name
        if not normal.startswith(_CHARACTER_SETS):
            raise LookupError(name)
        return body.decode(normal).removeprefix("\ufeff")
    except LookupError:
        raise DataError(f"the feed names {name!r} as its encoding, which is no character set") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"the feed is not in its encoding, {name!r}: byte {error.start:,} is 0x{body[error.start]:02x}"
        ) from None


def _encoding(body: bytes, content_type: str) -> str:
    for mark, name in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return name
    if charset := _CHARSET.search(content_type):
        return charset[1]
    if declared := _DECLARED_ENCODING.match(body.lstrip()[:512]):
        return declared[1].decode("ascii")
    return "utf-8"


class _Gate:
    """The Expat handlers: counts and looks, keeps only the channel's wishes."""

    def __init__(self) -> None:
        self.ttl_minutes = 0
        self.skip_hours: list[int] = []
        self.skip_days: list[str] = []
        self._depth = self._entries = self._categories = 0
        self._inside_entry = False
        self._inside_person = 0
        self._word = ""
        self._wish: str | None = None
        self.parser = expat.ParserCreate(encoding="utf-8", namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.EntityDeclHandler = self._entity

    def _refuse(self, problem: str) -> None:
        raise DataError(f"{problem} (line {self.parser.CurrentLineNumber})")

    def _entity(self, *_: object) -> None:
        self._refuse("the feed declares XML entities, a known way to make readers run out of memory")

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        name = qualified.rpartition(" ")[2].lower()
        if self._depth == 0 and name not in _ROOTS:
            self._refuse(f"this is XML but no feed: its root is <{name[:60]}>, not <rss>, <feed> or <RDF>")
        self._depth += 1
        if self._depth > MAX_FEED_DEPTH:
            self._refuse(f"the feed is nested deeper than {MAX_FEED_DEPTH} elements")
        if len(attributes) > MAX_ATTRIBUTES:
            self._refuse(f"<{name[:60]}> has more than {MAX_ATTRIBUTES} attributes")
        if name in _ENTRIES:
            self._entries += 1
            self._categories = 0
            self._inside_entry = True
            if self._entries > MAX_FEED_ENTRIES:
                self._refuse(f"the feed has more than {MAX_FEED_ENTRIES:,} entries")
        elif name in _CATEGORIES:
            self._categories += 1
            if self._categories > MAX_CATEGORIES:
                self._refuse(f"an entry has more than {MAX_CATEGORIES:,} categories")
        elif name in _PERSONS:
            self._inside_person += 1
            self._word = ""
        elif name in _SCHEDULE and not self._inside_entry:
            self._wish = ""

    def _end(self, qualified: str) -> None:
        name = qualified.rpartition(" ")[2].lower()
        self._depth -= 1
        if name in _ENTRIES:
            self._inside_entry = False
        elif name in _PERSONS:
            self._inside_person -= 1
        elif self._wish is not None:
            self._note(name, self._wish.strip())
            self._wish = None

    def _characters(self, text: str) -> None:
        if self._inside_person:
            words = re.split(r"\s", self._word + text)
            self._word = words[-1]
            if max(map(len, words)) > MAX_NAME_WORD_CHARS:
                self._refuse(f"a person's name has a word of more than {MAX_NAME_WORD_CHARS} letters")
        elif self._wish is not None:
            self._wish = (self._wish + text)[:20]

    def _note(self, name: str, value: str) -> None:
        if name == "day":
            self.skip_days.append(value.capitalize())
        elif value.isascii() and value.isdecimal():
            if name == "ttl":
                self.ttl_minutes = int(value)
            else:
                self.skip_hours.append(int(value) % 24)  # hour 24 is midnight in older RSS
