"""How good guesses are: accuracy, top-2 and confusion; and which documents may judge a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from headrace.models.linear import LinearModel

#: How `held_out` decides, by name, so that a model can say which rule kept its judges apart.
HOLDOUT_RULE: Final = "blake2b-64 of the id"


def held_out(ids: pl.Series, share: float) -> pl.Series:
    """Return which documents are kept from training: about `share` of them, by nothing but their id.

    The first 8 bytes of the BLAKE2b digest of the id's UTF-8 bytes, read as a big-endian fraction of 2^64,
    lie below `share`. So the choice depends neither on order nor on the other documents. A NULL id is held
    out: nobody could tell later whether the model has seen the document.
    """
    bound = share * 2.0**64

    def below(text: str | None) -> bool:
        if text is None:
            return True
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < bound

    return pl.Series(ids.name, map(below, ids.cast(pl.String).to_list()), dtype=pl.Boolean)


def share_held_out(model: LinearModel) -> float:
    """Return the `share` with which `held_out` finds the documents that may judge `model`.

    0 when the model says nothing of a kind: then nobody knows what it has seen.
    """
    said = model.metadata.get("held_out")
    share = said.get("share") if isinstance(said, dict) and said.get("rule") == HOLDOUT_RULE else None
    return float(share) if isinstance(share, int | float) else 0.0


def accuracy(labels: pl.Series, best: pl.Series) -> float:
    """Return the share of rows whose `best` guess is the label; no guess is a wrong one.

    NaN where there are no rows.
    """
    return _share(labels.eq_missing(best))


def top2(labels: pl.Series, best: pl.Series, second: pl.Series) -> float:
    """Return the share of rows whose label is among the best two guesses; NaN where there are no rows."""
    return _share(labels.eq_missing(best) | labels.eq_missing(second))


@dataclass(frozen=True, slots=True)
class Confusion:
    """A confusion matrix: ``counts[i][j]`` documents of ``classes[i]`` were taken for ``classes[j]``."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def confusion(labels: pl.Series, best: pl.Series, classes: Sequence[str] = ()) -> Confusion:
    """Return the confusion matrix; rows without a label or a guess are not counted.

    `classes` come first, in their order; others that occur follow by alphabet.
    """
    pairs = pl.DataFrame({"label": labels, "guess": best}, schema={"label": pl.String, "guess": pl.String})
    counted = pairs.drop_nulls().group_by("label", "guess").len().rows()
    counts = {(label, guess): count for label, guess, count in counted}
    names = tuple(dict.fromkeys([*classes, *sorted({name for pair in counts for name in pair})]))
    return Confusion(names, tuple(tuple(counts.get((label, guess), 0) for guess in names) for label in names))


@dataclass(frozen=True, slots=True)
class ClassResult:
    """The documents of one true class, and the shares of them that were guessed right."""

    name: str
    documents: int
    accuracy: float
    top2: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What guesses were worth: shares from 0 to 1 over all documents, by true class, and the confusion."""

    documents: int
    accuracy: float
    top2: float
    by_class: tuple[ClassResult, ...]
    confusion: Confusion


def evaluate(
    labels: pl.Series, best: pl.Series, second: pl.Series, classes: Sequence[str] = ()
) -> Evaluation:
    """Return all of the above; `classes` gives the order of the confusion matrix."""
    matrix = confusion(labels, best, classes)
    by_class = []
    for name in matrix.classes:
        own = (labels == name).fill_null(value=False)
        if own.any():
            truth, first, runner_up = labels.filter(own), best.filter(own), second.filter(own)
            result = ClassResult(name, len(truth), accuracy(truth, first), top2(truth, first, runner_up))
            by_class.append(result)
    whole = accuracy(labels, best), top2(labels, best, second)
    return Evaluation(len(labels), *whole, tuple(by_class), matrix)


def _share(right: pl.Series) -> float:
    mean = right.mean()
    return float(mean) if isinstance(mean, int | float) else float("nan")
