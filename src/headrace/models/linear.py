"""A linear classifier of documents over tf-idf word weights, scored in blocks with NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.events.batch import DTYPES, ValueType
from headrace.models.scorer import Argument, Scored, check_count
from headrace.models.text import Vocabulary, first_of_run

#: Scores are written with four decimals: the model's probabilities are right to about two.
_SCORE_STEPS: Final = 10_000

#: Added to a document's squared length, so that one without a known word is not divided by zero.
_TINY: Final = 1e-30


@dataclass(frozen=True, slots=True)
class LinearModel:
    """What training found, as it is saved.

    `words` stand by falling frequency; `word_counts[w, c]` is the number of training documents of class `c`
    that contain word `w`, and `documents[c]` the number of all of that class. The scores of a document are
    ``softmax(x @ weights + intercepts)`` with x the unit vector along ``(1 + ln tf) * idf``, tf the count of
    a word in the document and ``idf = 1 + ln((1 + n) / (1 + df))``, as scikit-learn defines them.
    `metadata` says how and from what the model was made.
    """

    name: str
    classes: tuple[str, ...]
    words: tuple[str, ...]
    word_counts: NDArray[np.int32]
    documents: NDArray[np.int32]
    weights: NDArray[np.float32]
    intercepts: NDArray[np.float32]
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        words, classes = len(self.words), len(self.classes)
        if classes < 2 or len(set(self.classes)) != classes:
            raise ValueError("a model has two or more distinct classes")
        shapes = (self.word_counts.shape, self.weights.shape, self.documents.shape, self.intercepts.shape)
        if shapes != ((words, classes), (words, classes), (classes,), (classes,)):
            raise ValueError(f"arrays of shapes {shapes} do not fit {words} words and {classes} classes")
        if not (np.isfinite(self.weights).all() and np.isfinite(self.intercepts).all()):
            raise ValueError("weights must be finite")

    def inverse_document_frequencies(self) -> NDArray[np.float32]:
        """Return the idf of each word."""
        containing = self.word_counts.sum(axis=1, dtype=np.int64)
        total = self.documents.sum(dtype=np.int64)
        idf: NDArray[np.float32] = (1 + np.log((1 + total) / (1 + containing))).astype(np.float32)
        return idf


class LinearClassifier:
    """A `LinearModel` made ready to score; `classify(doc)` in a query.

    The result is a record ``{"best": class, "second": class, "scores": {class: probability, ...}}``; a NULL
    document gives NULL, an argument that is no text is the row's error.
    """

    arguments: Final = 1

    def __init__(self, model: LinearModel) -> None:
        self.model = model
        self.name = model.name
        self.vocabulary = Vocabulary(model.words)
        # The vocabulary's number for unknown words is one past the last: it weighs nothing.
        idf = model.inverse_document_frequencies()
        self._idf = np.append(idf, np.float32(0))
        self._weights = np.vstack([model.weights * idf[:, None], np.zeros_like(model.intercepts)])
        self._quoted = [msgspec.json.encode(name).decode() for name in model.classes]
        scores = ",".join(f"{name.replace('%', '%%')}:%s" for name in self._quoted)
        self._record = f'{{"best":%s,"second":%s,"scores":{{{scores}}}}}'

    def score(self, arguments: Sequence[Argument], /) -> Scored:
        """Return a record for every document."""
        check_count(self, arguments)
        argument = arguments[0]
        errors = {
            row: f"{self.name} scores nvarchar(max), not {type_}"
            for type_, plane in argument.planes.items()
            if type_ is not ValueType.TEXT
            for row in plane.is_not_null().arg_true()
        }
        documents = argument.planes.get(ValueType.TEXT)
        if documents is None:
            return Scored({}, errors)
        texts = documents.to_list()
        records: list[str | None] = self._records([text or "" for text in texts])
        if documents.null_count():
            records = [None if text is None else record for text, record in zip(texts, records, strict=True)]
        result = pl.Series("scored", records, dtype=DTYPES[ValueType.RECORD])
        return Scored({ValueType.RECORD: result}, errors)

    def probabilities(self, documents: Sequence[str]) -> NDArray[np.float64]:
        """Return, per document, the probability of each class, in the order of ``model.classes``."""
        decisions = np.empty((len(documents), len(self.model.classes)))
        for rows, found in self.vocabulary.chunks(documents):
            tf = 1 + np.log(found.counts.astype(np.float32))
            chunk = np.zeros((rows.stop - rows.start, decisions.shape[1]), np.float32)
            firsts = first_of_run(found.documents).nonzero()[0]
            if firsts.size:
                weighted = self._weights[found.words]
                weighted *= tf[:, None]
                chunk[found.documents[firsts]] = np.add.reduceat(weighted, firsts, axis=0)
            squares = np.bincount(found.documents, (tf * self._idf[found.words]) ** 2, len(chunk))
            decisions[rows] = chunk / np.sqrt(squares + _TINY)[:, None]
        decisions += self.model.intercepts
        decisions -= decisions.max(axis=1, keepdims=True)
        odds: NDArray[np.float64] = np.exp(decisions)
        odds /= odds.sum(axis=1, keepdims=True)
        return odds

    def _records(self, documents: Sequence[str]) -> list[str | None]:
        if not documents:
            return []
        probabilities = self.probabilities(documents)
        best_two = ranked(probabilities)[:, :2].tolist()
        steps = np.rint(probabilities * _SCORE_STEPS).astype(np.int64)
        numbers, quoted, record = _score_texts(), self._quoted, self._record
        return [
            record % (quoted[best], quoted[second], *[numbers[step] for step in row])
            for (best, second), row in zip(best_two, steps.tolist(), strict=True)
        ]


def ranked(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return, per row, the classes' numbers, the most probable first; of equals the first stays first."""
    return np.argsort(-probabilities, axis=1, kind="stable")


@cache
def _score_texts() -> list[str]:
    """Return the JSON number of every score that can occur."""
    return [repr(step / _SCORE_STEPS) for step in range(_SCORE_STEPS + 1)]
