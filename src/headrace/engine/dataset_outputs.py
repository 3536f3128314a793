"""The outputs of a job over files that are no series: their rows go with the commit, as those of other jobs.

Threads of an instance share them: files that rows are appended to and the outbox have one order, so a thread
that writes to such an output has its turn from there to the delivery.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.connect.sink import LocalSink, Prepared, RemoteSink, Sink
from headrace.engine.delivery import Delivery
from headrace.engine.letters import Part
from headrace.engine.staging import Staging
from headrace.engine.writing import Outcome
from headrace.local.namespace import Transaction
from headrace.local.ownership import Ownership

#: Rows ready for outputs, by the output's name.
Ready = tuple[str, Prepared[Any]]


class OtherOutputs:
    """The outputs of one instance that are no series."""

    def __init__(self, sinks: Mapping[str, Sink], staging: Staging, delivery: Delivery) -> None:
        self._sinks, self._staging, self._delivery = sinks, staging, delivery
        self._ordered = any(not isinstance(sink, LocalSink) for sink in sinks.values())
        self._turn = threading.Lock()
        self._staged: dict[str, Any] = {}

    @staticmethod
    def remote(sinks: Mapping[str, Sink]) -> dict[str, RemoteSink]:
        """Return the outputs that the outbox delivers to."""
        return {name: sink for name, sink in sinks.items() if isinstance(sink, RemoteSink)}

    def resume(self, ownership: Ownership) -> None:
        """Go on with what an earlier process of this instance had to do."""
        self._staging.resume(ownership)
        self._delivery.resume(ownership.check)

    @contextlib.contextmanager
    def turn(self, ready: Sequence[Ready]) -> Iterator[None]:
        """Stage rows, let the block commit them, and deliver what is to be delivered."""
        if not self._ordered:
            yield
            return
        with self._turn:
            parts = [Part(None, Outcome({name: prepared})) for name, prepared in ready]
            payloads = self._staging.payloads(parts)
            self._staged = self._staging.stage(payloads) if payloads else {}
            yield
            self._staging.settle()
            self._delivery.deliver()

    def write(self, tx: Transaction, ready: Sequence[Ready]) -> None:
        """Within the commit: the rows count."""
        self._staging.publish(tx, self._staged)
        self._staged = {}
        for name, prepared in ready:
            sink = self._sinks[name]
            if isinstance(sink, LocalSink):
                sink.write(tx, prepared)
            elif name not in self._staging:
                self._delivery.add(tx, name, prepared.payload)

    def settle(self, *, ending: bool = False) -> None:
        """Close the files whose time has come, at the end all."""
        if self._ordered:
            with self._turn:
                self._staging.settle(ending=ending)

    def interrupt(self) -> None:
        """Break off waiting for a target."""
        self._delivery.interrupt()

    def forget(self) -> None:
        """Forget, at an orderly end, what was delivered."""
        if self._ordered:
            self._delivery.forget()
