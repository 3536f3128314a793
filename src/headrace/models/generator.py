"""Documents made from a model's own vocabulary: something to classify where no real documents are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.models.linear import LinearModel

#: Documents that are drawn together; the first documents of a seed are the same however many are asked for.
_BLOCK_DOCUMENTS: Final = 500

#: Words of a document: log-normal, as the lengths of abstracts are (median 130, half between 95 and 180).
_MEDIAN_WORDS: Final = 130
_SPREAD_OF_WORDS: Final = 0.45
_FEWEST_WORDS, _MOST_WORDS = 25, 450

#: A document mixes the vocabularies of all classes, in shares drawn from a Dirichlet distribution: this much
#: for its own class, that much for each other. So, as of real papers, about 88 % speak mostly of their own
#: class and 97 % of it first or second; the rest is honestly hard.
_OWN_CLASS: Final = 2.5
_OTHER_CLASS: Final = 0.15

_WORDS_PER_SENTENCE: Final = 22
_TITLE_WORDS: Final = 6

#: Words that stand in fewer than this share of the documents tell what a paper is about.
_TELLING_SHARE: Final = 0.02

#: What real abstracts hold beside plain words, so that readers and writers are tried on it too.
_FRAGMENTS: Final = (
    r"$\alpha$",
    r"$O(n \log n)$",
    r"\emph{in vivo}",
    "Schrödinger",
    "Poincaré",
    '"toy"',
    "10% <",
    "π/2",
)


def generate_documents(model: LinearModel, count: int, seed: int) -> pl.DataFrame:
    """Return `count` documents with the columns id, title, doc and class, all text.

    The classes are drawn as the model's training documents were. The title is made of words of the document
    and does not name the class. The same model and seed give the same documents; ids say the seed.
    """
    frames = list(document_blocks(model, seed, count))
    return pl.concat(frames) if frames else _frame([], [], [], [])


def document_blocks(model: LinearModel, seed: int, count: int) -> Iterator[pl.DataFrame]:
    """Yield the documents of `generate_documents` in blocks of at most 500."""
    writer = _Writer(model)
    for first in range(0, count, _BLOCK_DOCUMENTS):
        block = writer.block(seed, first)
        yield block.head(count - first)


class _Writer:
    """Draws words: one cumulative distribution per class, over all words."""

    def __init__(self, model: LinearModel) -> None:
        if not model.words:
            raise ValueError("a model without words cannot write")
        self._classes = model.classes
        self._shares = model.documents / model.documents.sum()
        self._words = np.array(model.words, dtype=object)
        # A word that a share p of the documents contain occurs -ln(1 - p) times in one, if its occurrences
        # are independent. The constants keep p below 1 and give every word a chance in every class.
        containing = (model.word_counts + 0.02) / (model.documents + 0.5)
        rates = -np.log1p(-np.minimum(containing, 0.999))
        self._cumulative = np.cumsum(rates / rates.sum(axis=0), axis=0).T.copy()
        overall = model.word_counts.sum(axis=1) / max(1, int(model.documents.sum()))
        names = {name.casefold() for name in model.classes}
        self._telling = (overall < _TELLING_SHARE) & np.array([word not in names for word in model.words])

    def block(self, seed: int, first: int) -> pl.DataFrame:
        """Return the block of documents that begins with number `first`."""
        random = np.random.default_rng([seed, first])
        own = random.choice(len(self._classes), size=_BLOCK_DOCUMENTS, p=self._shares)
        lengths = _MEDIAN_WORDS * np.exp(random.normal(0, _SPREAD_OF_WORDS, _BLOCK_DOCUMENTS))
        lengths = lengths.clip(_FEWEST_WORDS, _MOST_WORDS).astype(np.int64)
        titles, documents = [], []
        ends = lengths.cumsum()
        words = self._drawn(random, own, lengths)
        for number, end in enumerate(ends.tolist()):
            drawn = words[end - int(lengths[number]) : end]
            titles.append(self._title(drawn))
            documents.append(self._document(random, drawn))
        ids = [f"made.{seed}.{first + number:07d}" for number in range(_BLOCK_DOCUMENTS)]
        return _frame(ids, titles, documents, [self._classes[number] for number in own])

    def _drawn(
        self, random: np.random.Generator, own: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the words of all documents, one document after the other."""
        weights = np.full((len(own), len(self._classes)), _OTHER_CLASS)
        weights[np.arange(len(own)), own] = _OWN_CLASS
        shares = random.standard_gamma(weights) + 1e-9
        shares /= shares.sum(axis=1, keepdims=True)
        which = random.random(int(lengths.sum()))
        sources = (which[:, None] > shares.cumsum(axis=1).repeat(lengths, axis=0)[:, :-1]).sum(axis=1)
        places = random.random(len(sources))
        words = np.empty(len(sources), np.int64)
        for number, cumulative in enumerate(self._cumulative):
            drawn = sources == number
            words[drawn] = cumulative.searchsorted(places[drawn] * cumulative[-1], "right")
        return words.clip(0, len(self._words) - 1)

    def _title(self, drawn: NDArray[np.int64]) -> str:
        telling = drawn[self._telling[drawn]]
        chosen = telling if len(telling) >= 2 else drawn
        distinct = list(dict.fromkeys(chosen.tolist()))[:_TITLE_WORDS]
        return " ".join(self._words[distinct]).capitalize()

    def _document(self, random: np.random.Generator, drawn: NDArray[np.int64]) -> str:
        words: list[str] = self._words[drawn].tolist()
        words.insert(int(random.integers(len(words))), _FRAGMENTS[int(random.integers(len(_FRAGMENTS)))])
        sentences = [
            " ".join(words[start : start + _WORDS_PER_SENTENCE])
            for start in range(0, len(words), _WORDS_PER_SENTENCE)
        ]
        return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


def _frame(ids: list[str], titles: list[str], documents: list[str], classes: list[str]) -> pl.DataFrame:
    columns = {"id": ids, "title": titles, "doc": documents, "class": classes}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
