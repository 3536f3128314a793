"""What a feed remembers between polls: plain data, kept in one file by one process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

import msgspec

from headrace.connect.feeds.paper import Paper
from headrace.errors import DataError, Fatal, UserError
from headrace.limits import MAX_FEED_SEEN

#: A paper that a feed has not listed for so long is forgotten.
SEEN_FOR_US: Final = 90 * 86_400 * 1_000_000


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """The rank (see `Paper.rank`) at which a paper was published, and when the feed last listed it."""

    rank: int
    listed_us: int


class FeedState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one feed.

    `sequence` numbers the last block of events; `pending` holds that block while it is not known to be in the
    hub. `seen` is in the order of last listing.
    """

    url: str
    sequence: int = 0
    pending: tuple[str, ...] = ()
    seen: dict[str, Seen] = {}
    etag: str | None = None
    last_modified: str | None = None
    next_poll_us: int = 0
    failures: int = 0
    ttl_minutes: int = 0
    skip_hours: tuple[int, ...] = ()
    skip_days: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """Return the state as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the state that `to_json` wrote; raises `DataError` for anything else."""
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise DataError(f"the feed's saved state is damaged: {error}. Delete it to begin anew") from None


def unseen(
    papers: Iterable[Paper], seen: dict[str, Seen], now_us: int
) -> tuple[list[Paper], dict[str, Seen]]:
    """Return the papers to publish, each once, and what is seen after them.

    A paper is published when its id is unknown or its rank higher than before; it replaces an earlier one
    when the id is known or arXiv announces it so. Old and surplus ids are forgotten, the longest unlisted
    first.
    """
    chosen, after = [], dict(seen)
    for paper in papers:
        known = after.pop(paper.id, None)
        rank = paper.rank()
        if known is None or rank > known.rank:
            announced = (paper.announce_type or "").startswith("replace")
            chosen.append(msgspec.structs.replace(paper, replaces=known is not None or announced))
        after[paper.id] = Seen(max(rank, known.rank) if known else rank, now_us)
    for paper_id in list(after):
        if len(after) <= MAX_FEED_SEEN and now_us - after[paper_id].listed_us <= SEEN_FOR_US:
            break
        del after[paper_id]
    return chosen, after


def recovered(state: FeedState, bodies: Iterable[bytes], sequence: int, now_us: int) -> FeedState:
    """Return `state` made to agree with a hub: `bodies` are its events, `sequence` the feed's last block.

    A state older than the hub learns what it holds; one that is ahead of it, the hub having been made anew
    or put back, forgets all that is not in it. Events of other feeds, and bodies that are no papers, are
    passed over. The next poll asks for the whole feed.
    """
    papers = (paper for body in bodies if (paper := _paper(body)) and paper.feed == state.url)
    _, seen = unseen(papers, state.seen if sequence > state.sequence else {}, now_us)
    return msgspec.structs.replace(
        state, sequence=sequence, pending=(), seen=seen, etag=None, last_modified=None
    )


def _paper(body: bytes) -> Paper | None:
    try:
        return msgspec.json.decode(body, type=Paper)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class StateFile:
    """A feed's state in a file: replaced whole and synced to disk by each `save`, held by one process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def held(self) -> Iterator[Self]:
        """Hold the file; raises `UserError` if another process does, since two would repeat each other."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            name = self.path.with_name(self.path.name + ".lock")
            lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}. Check that the folder is yours"
            ) from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another process reads this feed already (it holds {self.path})") from None
            yield self
        finally:
            os.close(lock)

    def load(self, url: str) -> FeedState:
        """Return the saved state of the feed at `url`, a new one if nothing is saved."""
        try:
            state = FeedState.from_json(self.path.read_bytes())
        except FileNotFoundError:
            return FeedState(url=url)
        if state.url != url:
            raise UserError(f"{self.path} belongs to the feed {state.url}, not {url}; choose another file")
        return state

    def save(self, state: FeedState) -> None:
        """Replace the file; when this returns it survives a power cut."""
        part = self.path.with_name(self.path.name + ".part")
        try:
            with part.open("wb") as file:
                file.write(state.to_json())
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise Fatal(f"cannot save the feed's state to {self.path}: {error.strerror}") from None
