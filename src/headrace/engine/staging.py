"""The files that an instance writes: their bytes come first, and a commit says that they count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.connect.sink import Sink, StagedSink
from headrace.engine.letters import Part
from headrace.errors import HeadraceError
from headrace.faults import crash_point
from headrace.local.namespace import Namespace, Transaction
from headrace.local.ownership import Ownership


class Staging:
    """The outputs of a job that are files, for the line of one instance."""

    def __init__(self, sinks: Mapping[str, Sink], namespace: Namespace) -> None:
        self._sinks = {name: sink for name, sink in sinks.items() if isinstance(sink, StagedSink)}
        self._namespace = namespace

    def __contains__(self, output: str) -> bool:
        return output in self._sinks

    def resume(self, ownership: Ownership) -> None:
        """Bring files to what was committed, and go on with what an earlier process had to do."""
        self._ownership = ownership
        for sink in self._sinks.values():
            sink.resume()
        self.settle()

    def payloads(self, parts: Sequence[Part]) -> dict[str, list[bytes]]:
        """Return the rows of an epoch that go to files, by output."""
        payloads: dict[str, list[bytes]] = {}
        for part in parts:
            for name, prepared in part.outcome.prepared.items():
                if name in self._sinks:
                    payloads.setdefault(name, []).append(prepared.payload)
        return payloads

    def stage(self, payloads: Mapping[str, Sequence[bytes]]) -> dict[str, Any]:
        """Write rows where they will stay; returns what `publish` takes."""
        with self._told_if_overtaken():
            staged = {name: self._sinks[name].stage(b"".join(some)) for name, some in payloads.items()}
        crash_point("job.staged")
        return staged

    def publish(self, tx: Transaction, staged: Mapping[str, Any]) -> None:
        """Within the commit: what was staged counts."""
        for name, change in staged.items():
            self._sinks[name].publish(tx, change)

    def settle(self, *, ending: bool = False) -> None:
        """Close the files whose time has come, at the end all, and put closed ones in their places."""
        for sink in self._sinks.values():
            while True:
                with self._told_if_overtaken():
                    settled = sink.settle(ending=ending)
                if settled is None:
                    break
                with self._namespace.transaction() as tx:
                    self._ownership.check(tx)
                    sink.publish(tx, settled)

    @contextlib.contextmanager
    def _told_if_overtaken(self) -> Iterator[None]:
        """Say so to whoever was overtaken: it finds its files changed, and that is no user's mistake."""
        try:
            yield
        except HeadraceError:
            with self._namespace.transaction() as tx:
                self._ownership.check(tx)
            raise
