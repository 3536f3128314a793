"""Text of feeds made plain: markup out, entities decoded once, whitespace collapsed, all else kept."""

from __future__ import annotations

import html
import re
from typing import Final

#: Only known names, bare or with attributes, are markup: "$a<b$", "<x, y>" and "a<b & c>d" are text.
_TAGS: Final = re.compile(
    r"</?(?:a|abbr|acronym|article|aside|b|big|blockquote|br|center|cite|code|dd|del|div|dl|dt|em|figcaption|"
    r"figure|font|footer|h[1-6]|header|hr|i|img|ins|kbd|li|main|mark|nav|ol|p|pre|q|s|section|small|span|"
    r"strike|strong|sub|sup|table|tbody|td|tfoot|th|thead|tr|tt|u|ul|var)(?:\s*/?|\s[^<>=]*=[^<>]*)>",
    re.IGNORECASE,
)
_BLOCK: Final = re.compile(r"</?(?:p|br|d|li|[uo]l|h|t|blockquote|section|article)", re.IGNORECASE)
_ANCHOR: Final = re.compile(r"<a\b[^<>]*>([^<>]*)</a>", re.IGNORECASE)
_HIDDEN: Final = (
    (re.compile(r"<!--"), re.compile(r"-->")),
    (re.compile(r"<script\b", re.IGNORECASE), re.compile(r"</script[^<>]*>", re.IGNORECASE)),
    (re.compile(r"<style\b", re.IGNORECASE), re.compile(r"</style[^<>]*>", re.IGNORECASE)),
)


def collapsed(text: str) -> str:
    """Return `text` with each run of whitespace made one space, and none at its ends."""
    return " ".join(text.split())


def text_of_html(markup: str) -> str:
    """Return what a reader of `markup` sees: comments, scripts and tags out, entities decoded once."""
    for opening, closing in _HIDDEN:
        first, *rest = opening.split(markup)
        after = (closing.split(part, maxsplit=1) for part in rest)
        markup = first + "".join(pieces[1] for pieces in after if len(pieces) > 1)
    bare = _TAGS.sub(lambda tag: " " if _BLOCK.match(tag[0]) else "", markup)
    return html.unescape(bare)


def author_names(creator: str) -> list[str]:
    """Return the names in one arXiv author line: linked names, else a comma-separated list.

    Affiliations in parentheses are left out, so that their commas split no name.
    """
    if linked := _ANCHOR.findall(creator):
        return [name for text in linked if (name := collapsed(html.unescape(text)))]
    names, name, depth = [], "", 0
    for piece in re.split(r"([(),])", creator):
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth = max(0, depth - 1)
        elif piece == "," and depth == 0:
            names.append(name)
            name = ""
        elif depth == 0:
            name += piece
    return [clean for name in (*names, name) if (clean := collapsed(name))]
