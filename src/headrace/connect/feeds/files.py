"""A feed document in a file, as the events that polling it would give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from headrace.connect.feeds.parse import parse_feed
from headrace.errors import HeadraceError, UserError
from headrace.limits import MAX_FEED_BYTES

#: What the names of feed documents end in.
FEED_SUFFIXES: Final = (".xml", ".atom", ".rss", ".rdf")


def papers_from_file(path: Path) -> Iterator[bytes]:
    """Yield the papers of a feed document as JSON events, in its order.

    Raises `UserError` for a file that cannot be opened, and what `parse_feed` does for one that is no feed;
    every message names the file.
    """
    try:
        with path.open("rb") as file:
            body = file.read(MAX_FEED_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    try:
        papers = parse_feed(body).papers
    except HeadraceError as error:
        raise type(error)(f"{path}: {error}") from None
    for paper in papers:
        announced = (paper.announce_type or "").startswith("replace")
        yield msgspec.structs.replace(paper, replaces=announced).event()
