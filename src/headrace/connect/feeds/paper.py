"""A paper as an event: the value that feeds give and the bytes that go into a hub."""

from __future__ import annotations

from datetime import datetime

import msgspec

from headrace.connect.feeds.arxiv import Announcement


class Paper(msgspec.Struct, frozen=True, rename={"paper_class": "class"}):
    """One entry of a feed.

    `id` has no version; for an entry that is not arXiv's it is the entry's own id, else its link, else a
    digest. `doc` is the abstract (or summary) as plain text. `primary` and `paper_class` (``class`` in the
    event: Physics, math, compsci, bio, finance) are null outside arXiv or where the data set leaves the
    category out. Times are ISO 8601 in UTC or null. `replaces` says that an earlier version was announced.
    """

    id: str
    version: int | None
    title: str
    doc: str
    authors: tuple[str, ...]
    primary: str | None
    categories: tuple[str, ...]
    paper_class: str | None
    published: str | None
    updated: str | None
    announce_type: Announcement | None
    link: str | None
    feed: str | None
    replaces: bool = False

    def event(self) -> bytes:
        """Return the paper as one JSON object, UTF-8, the same bytes for the same paper."""
        return msgspec.json.encode(self)

    def rank(self) -> int:
        """Return a number that is higher for a later form of the same paper.

        It is arXiv's version; elsewhere the time of the last change in seconds, where the feed tells it.
        """
        if self.version is not None or self.updated is None:
            return self.version or 0
        return int(datetime.fromisoformat(self.updated).timestamp())
