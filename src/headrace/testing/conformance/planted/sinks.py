"""Faults of sinks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headrace.connect.sink import Prepared, Rows
from headrace.errors import DataError, Transient
from headrace.events.batch import Batch
from headrace.local.namespace import Transaction
from headrace.testing.conformance.planted.fault import Fault


class LosesTheLastRow(Fault):
    """Writes all rows but one."""

    def prepare(self, rows: Rows) -> Prepared[Any]:
        """Encode all rows but the last, and count them all."""
        batch = Batch(rows.batch.frame.head(rows.batch.height - 1), rows.batch.columns)
        prepared = self._inner.prepare(Rows(batch, lambda: rows.ids().head(batch.height)))
        return replace(prepared, rows=rows.batch.height)


class ReordersRows(Fault):
    """Writes the last row first."""

    def prepare(self, rows: Rows) -> Prepared[Any]:
        """Encode rows turned around."""
        batch = Batch(rows.batch.frame.reverse(), rows.batch.columns)
        prepared: Prepared[Any] = self._inner.prepare(Rows(batch, lambda: rows.ids().reverse()))
        return prepared


class NamesNoFailure(Fault):
    """Says of no row that it cannot be written."""

    def prepare(self, rows: Rows) -> Prepared[Any]:
        """Forget the failures."""
        return replace(self._inner.prepare(rows), failures={})


class NamesAnotherRow(Fault):
    """Counts rows from 1 when it names them."""

    def prepare(self, rows: Rows) -> Prepared[Any]:
        """Name the row behind."""
        prepared = self._inner.prepare(rows)
        return replace(prepared, failures={row + 1: why for row, why in prepared.failures.items()})


class WritesTwice(Fault):
    """Writes what it is given two times over."""

    def write(self, tx: Transaction, prepared: Prepared[Any]) -> None:
        """Write twice."""
        self._inner.write(tx, prepared)
        self._inner.write(tx, prepared)

    def stage(self, payload: bytes) -> Any:
        """Stage the payload twice over."""
        return self._inner.stage(payload * 2)


class WritesOutsideTheCommit(Fault):
    """Writes as soon as it has rows, in a transaction of its own."""

    def prepare(self, rows: Rows) -> Prepared[Any]:
        """Prepare and write."""
        prepared: Prepared[Any] = self._inner.prepare(rows)
        with self._around.commit() as tx:
            self._inner.write(tx, prepared)
        return prepared

    def write(self, tx: Transaction, prepared: Prepared[Any]) -> None:
        """Do nothing more."""


class WritesOnce(Fault):
    """Takes what a commit that was undone wrote for written."""

    def write(self, tx: Transaction, prepared: Prepared[Any]) -> None:
        """Write what was never written, be it undone or not."""
        written = self._around.shared.setdefault("written", [])
        if not any(prepared is other for other in written):
            self._inner.write(tx, prepared)
        written.append(prepared)


class PublishesAsItStages(Fault):
    """Does not wait for the commit."""

    def stage(self, payload: bytes) -> Any:
        """Stage and publish."""
        staged = self._inner.stage(payload)
        with self._around.commit() as tx:
            self._inner.publish(tx, staged)
        return staged

    def publish(self, tx: Transaction, staged: Any) -> None:
        """Do nothing more."""


class PublishesNothing(Fault):
    """Leaves what it staged to be swept."""

    def publish(self, tx: Transaction, staged: Any) -> None:
        """Do nothing."""


class KeepsWhatWasStaged(Fault):
    """Publishes, as it starts, what its predecessor staged."""

    def stage(self, payload: bytes) -> Any:
        """Remember what was staged."""
        self._around.shared["payload"] = payload
        return self._inner.stage(payload)

    def publish(self, tx: Transaction, staged: Any) -> None:
        """Publish, so that nothing is left of it to remember."""
        self._around.shared.pop("payload", None)
        self._inner.publish(tx, staged)

    def resume(self) -> None:
        """Publish what nobody did."""
        self._inner.resume()
        if (payload := self._around.shared.pop("payload", None)) is not None:
            staged = self._inner.stage(payload)
            with self._around.commit() as tx:
                self._inner.publish(tx, staged)


class DoublesWhatIsRepeated(Fault):
    """Gives every delivery a name of its own."""

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Deliver under a name that no other delivery has."""
        count = self._around.shared["count"] = self._around.shared.get("count", 0) + 1
        self._inner.deliver(block, f"{producer}/{count}", sequence)


class TakesProducersForOne(Fault):
    """Drops what has the sequence of another's block."""

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Deliver under the name of one producer."""
        self._inner.deliver(block, "producer", sequence)


class DeliversAsItPrepares(Fault):
    """Does not wait for the commit."""

    def prepare(self, rows: Rows) -> Prepared[Any]:
        """Prepare and deliver."""
        prepared: Prepared[Any] = self._inner.prepare(rows)
        self._inner.deliver(prepared.payload, "early", rows.batch.height)
        return prepared


class TriesForEver(Fault):
    """Takes what is refused for good for what passes."""

    def deliver(self, *asked: Any) -> None:
        """Raise Transient whatever is wrong."""
        try:
            self._inner.deliver(*asked)
        except DataError as error:
            raise Transient(str(error)) from None
