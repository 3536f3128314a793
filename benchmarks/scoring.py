"""Scoring alone: documents a second by rows per call, against scikit-learn, and how right the guesses are.

``python -m benchmarks.scoring [FILE]``. FILE holds labelled papers (columns doc, class, id); without it,
documents are made from the shipped model's vocabulary. What is compared with scikit-learn is trained here, on
the very same documents. Pin it to one core (``taskset -c 0``) for figures a core.

The shipped model was made by::

    headrace model train arxiv_public.parquet --text doc --label class --id id -o papers.model
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from itertools import repeat

import numpy as np
import polars as pl

from headrace.events.batch import ValueType
from headrace.models.evaluate import evaluate, held_out, share_held_out
from headrace.models.generator import generate_documents
from headrace.models.linear import LinearClassifier, ranked
from headrace.models.scorer import Argument
from headrace.models.storage import load_model
from headrace.models.text import ascii_lower
from headrace.models.training import pipeline, train

BLOCKS = (1, 10, 100, 1_000, 10_000)
SECONDS = 1.0


def rate(call: Callable[[Sequence[str]], object], documents: list[str], block: int) -> float:
    """Documents a second of `call` on blocks, the best of three runs of about a third of a second."""
    blocks = [documents[start : start + block] for start in range(0, len(documents), block)][:500]
    call(blocks[0])
    best = 0.0
    for _ in range(3):
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS / 3:
            for one in blocks:
                call(one)
                done += len(one)
                if time.perf_counter() - began > SECONDS / 3:
                    break
        best = max(best, done / (time.perf_counter() - began))
    return best


def split_and_look_up(classifier: LinearClassifier) -> Callable[[Sequence[str]], object]:
    """The plain way to find words: split each document, look every word up in a dict."""
    numbers = {word: number for number, word in enumerate(classifier.model.words)}
    spaces = str.maketrans({chr(code): " " for code in range(128) if not chr(code).isalpha()})

    def call(documents: Sequence[str]) -> object:
        words = [word for document in documents for word in ascii_lower(document).translate(spaces).split()]
        return np.fromiter(map(numbers.get, words, repeat(-1)), np.int64, len(words))

    return call


def main() -> None:
    began = time.perf_counter()
    classifier = load_model("papers")
    load_ms = 1e3 * (time.perf_counter() - began)
    print(f"load_model('papers'): {load_ms:.0f} ms, {len(classifier.model.words):,} words")

    if len(sys.argv) > 1:
        papers = pl.read_parquet(sys.argv[1], columns=["id", "doc", "class"])
        unseen = held_out(papers["id"], share_held_out(classifier.model))
        taught, judges = papers.filter(~unseen), papers.filter(unseen)
    else:
        made = generate_documents(classifier.model, 16_000, 1)
        taught, judges = made.head(6_000), made.tail(10_000)

    documents = judges["doc"].to_list()
    order = ranked(classifier.probabilities(documents))
    names = pl.Series(classifier.model.classes)
    result = evaluate(judges["class"], names.gather(order[:, 0]), names.gather(order[:, 1]))
    print(f"{result.documents:,} documents: best {result.accuracy:.2%}, best or second {result.top2:.2%}")

    svm, vectorizer = pipeline()
    svm.fit(vectorizer.fit_transform(taught["doc"].to_list()), taught["class"].to_list())
    same = LinearClassifier(train("same", taught["doc"], taught["class"]))
    theirs = svm.predict(vectorizer.transform(documents))
    ours = pl.Series(same.model.classes).gather(ranked(same.probabilities(documents))[:, 0]).to_numpy()
    print(f"the same best guess as scikit-learn: {(theirs == ours).mean():.4%}")

    def score(block: Sequence[str]) -> object:
        series = pl.Series(block, dtype=pl.String)
        return same.score([Argument.of({ValueType.TEXT: series}, len(series))])

    paths: dict[str, Callable[[Sequence[str]], object]] = {
        "headrace, to records": score,
        "words alone, by split and dict": split_and_look_up(same),
        "words alone, headrace": lambda block: list(same.vocabulary.chunks(block)),
        "scikit-learn, to classes": lambda block: svm.predict(vectorizer.transform(block)),
    }
    print(f"\n{'documents/s at rows a call':32}" + "".join(f"{block:>10,}" for block in BLOCKS))
    for name, call in paths.items():
        print(f"{name:32}" + "".join(f"{rate(call, documents, block):>10,.0f}" for block in BLOCKS))


if __name__ == "__main__":
    main()
