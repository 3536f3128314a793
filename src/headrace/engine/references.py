"""The reference data of a running job: which version of them counts, now and when a state is rebuilt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

from headrace.clock import Clock
from headrace.engine.joins.reference import Reference


class ReferenceVersions(Protocol):
    """The reference data of one input, version by version: what is noticed comes behind what was."""

    #: After how long `look` should be called again, None if never while the job runs.
    refresh_seconds: float | None

    @property
    def known(self) -> int:
        """How many versions are known."""
        ...

    def look(self) -> None:
        """Notice what has changed, here or in another instance."""
        ...

    def at(self, known: int) -> Reference:
        """Return the data as they were when so many versions were known."""
        ...


class References(Mapping[str, Reference]):
    """The reference data of a job by name, as they count now; between two epochs they may change."""

    def __init__(self, versions: Mapping[str, ReferenceVersions] = MappingProxyType({})) -> None:
        self._versions = versions
        self._current = {name: own.at(own.known) for name, own in versions.items()}
        self._known = {name: own.known for name, own in versions.items()}
        self._look_ns: dict[str, int] = {}

    def __getitem__(self, name: str) -> Reference:
        return self._current[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current)

    def __len__(self) -> int:
        return len(self._current)

    @property
    def known(self) -> dict[str, int]:
        """How many versions of each are known, as a commit has it on record."""
        return dict(self._known)

    @property
    def changing(self) -> bool:
        """Whether any may change while the job runs."""
        return any(own.refresh_seconds is not None for own in self._versions.values())

    def refresh(self, clock: Clock) -> None:
        """Notice what has changed, where it is time to look; it counts from now on."""
        now_ns = clock.monotonic_ns()
        for name, own in self._versions.items():
            if own.refresh_seconds is not None and now_ns >= self._look_ns.get(name, 0):
                own.look()
                self._look_ns[name] = now_ns + int(own.refresh_seconds * 1e9)
                self._use(name, own.known)

    def use(self, known: Mapping[str, int]) -> None:
        """Go back to what was known then, of those that are named; the others are as they are now."""
        for name, own in self._versions.items():
            if known.get(name, 0) > own.known:  # another instance has noticed more
                own.look()
            self._use(name, known.get(name, own.known))

    def _use(self, name: str, known: int) -> None:
        if known != self._known[name]:
            self._current[name], self._known[name] = self._versions[name].at(known), known
