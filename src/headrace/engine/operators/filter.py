"""WHERE: the rows for which a predicate is true."""

from __future__ import annotations

from headrace.engine.expressions import satisfied
from headrace.events.batch import Batch
from headrace.sql.plan import Expression


def filter_rows(batch: Batch, predicate: Expression, script: str) -> Batch:
    """Return the rows of `batch` for which `predicate` is true, in order; raises RowError."""
    if batch.height == 0:
        return batch
    return Batch(batch.frame.filter(satisfied(predicate, batch, script)), batch.columns)
