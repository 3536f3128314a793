"""UNION: the rows of several relations, duplicates kept."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.events.batch import ORIGIN, TIME, Batch, concat


def union(batches: Sequence[Batch], *, by_origin: bool = True) -> Batch:
    """Return the rows of `batches` in order of time, then of the event they come from, then as given.

    So the order does not depend on how the events were cut into batches. Slices hold all rows of an instant:
    there the order of equal times is that of `batches`, and `by_origin` is false. Batches that are not timed
    follow one another.
    """
    filled = [batch for batch in batches if batch.height]
    if len(filled) < 2:
        return (filled or list(batches))[0]
    together = concat(filled)
    wanted = (TIME, ORIGIN) if by_origin else (TIME,)
    order = [name for name in wanted if all(name in batch.frame.columns for batch in filled)]
    if not order:
        return together
    return Batch(together.frame.sort(order, maintain_order=True), together.columns)
