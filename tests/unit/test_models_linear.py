"""The linear classifier as a scorer of a query."""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.events.batch import ValueType
from headrace.models.evaluate import accuracy, held_out, share_held_out, top2
from headrace.models.generator import generate_documents
from headrace.models.linear import LinearClassifier, LinearModel, ranked
from headrace.models.scorer import Argument
from headrace.models.storage import load_model

PAPERS = Path(__file__).parents[3] / "shared" / "data" / "arxiv_public.parquet"


@cache
def papers():
    return load_model("papers")


def toy(name="toy", classes=("b", "a")):
    """A model of two words, by hand."""
    counts = np.array([[3, 1], [0, 2]], np.int32)
    weights = np.array([[1, -1], [-2, 2]], np.float32)
    sizes = np.array([3, 3], np.int32)
    return LinearModel(name, classes, ("of", "energy"), counts, sizes, weights, np.zeros(2, np.float32))


def text(*documents):
    return [Argument.of({ValueType.TEXT: pl.Series(documents, dtype=pl.String)}, len(documents))]


def records(scored):
    return [None if value is None else json.loads(value) for value in scored.planes[ValueType.RECORD]]


@pytest.mark.skipif(not PAPERS.exists(), reason="the papers are not here")
def test_the_shipped_model_is_right_on_papers_that_it_has_not_seen():
    frame = pl.read_parquet(PAPERS, columns=["id", "doc", "class"])
    share = share_held_out(papers().model)
    judges = frame.filter(held_out(frame["id"], share))
    order = ranked(papers().probabilities(judges["doc"].to_list()))
    names = pl.Series(papers().model.classes)
    best, second = names.gather(order[:, 0]), names.gather(order[:, 1])
    assert judges.height == papers().model.metadata["held_out"]["documents"]
    assert hashlib.sha256(PAPERS.read_bytes()).hexdigest() == papers().model.metadata["trained_on"]["sha256"]
    assert accuracy(judges["class"], best) >= 0.87
    assert top2(judges["class"], best, second) >= 0.96


def test_a_record_holds_the_best_the_second_and_every_score():
    [record] = records(papers().score(text("We prove a theorem on the cohomology of manifolds.")))
    scores = record["scores"]
    assert list(record) == ["best", "second", "scores"]
    assert record["best"] == "math"
    assert list(scores) == list(papers().model.classes)
    assert sorted(scores, key=scores.get)[-2:] == [record["second"], record["best"]]
    assert sum(scores.values()) == pytest.approx(1, abs=3e-4)


@given(
    st.lists(st.none() | st.text(max_size=40) | st.sampled_from(["of energy", "ENERGY", "of of"]), max_size=8)
)
def test_a_row_scores_the_same_alone_and_in_any_block(documents):
    classifier = LinearClassifier(toy())
    together = classifier.score(text(*documents)).planes.get(
        ValueType.RECORD, pl.Series([None] * len(documents))
    )
    alone = [
        None if one is None else classifier.score(text(one)).planes[ValueType.RECORD][0] for one in documents
    ]
    assert together.to_list() == alone


def test_a_row_of_real_length_scores_the_same_alone_and_in_any_block():
    documents = generate_documents(papers().model, 600, 8)["doc"]
    together = papers().score(text(*documents)).planes[ValueType.RECORD].to_list()
    assert [papers().score(text(one)).planes[ValueType.RECORD][0] for one in documents[:200]] == together[
        :200
    ]
    assert papers().score(text(*documents[300:])).planes[ValueType.RECORD].to_list() == together[300:]


def test_null_gives_null_and_another_type_is_the_error_of_its_row():
    planes = {
        ValueType.TEXT: pl.Series(["of", None, None, None]),
        ValueType.BIGINT: pl.Series([None, None, 7, None], dtype=pl.Int64),
        ValueType.RECORD: pl.Series([None, None, None, '{"a":1}']),
    }
    scored = LinearClassifier(toy()).score([Argument.of(planes, 4)])
    assert [record is not None for record in records(scored)] == [True, False, False, False]
    assert scored.errors == {
        2: "toy scores nvarchar(max), not bigint",
        3: "toy scores nvarchar(max), not record",
    }


def test_nothing_but_nulls_and_no_rows_give_no_result():
    assert papers().score([Argument.of({}, 3)]).planes == {}
    assert papers().score(text()).errors == {}


def test_a_document_without_a_known_word_gets_the_scores_of_the_intercepts():
    [record] = records(LinearClassifier(toy()).score(text("123 unheard")))
    assert record == {"best": "b", "second": "a", "scores": {"b": 0.5, "a": 0.5}}


def test_any_name_of_a_class_is_written_as_json():
    classes = ('say "100 %s"\n', "ü\\")
    [record] = records(LinearClassifier(toy(classes=classes)).score(text("energy")))
    assert record["best"] == classes[1]
    assert tuple(record["scores"]) == classes


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("a",)},
        {"classes": ("a", "a")},
        {"words": ("of",)},
        {"weights": np.array([[np.nan, 0], [0, 0]], np.float32)},
    ],
)
def test_a_model_that_does_not_fit_together_is_refused(change):
    model = toy()
    fields = {name: getattr(model, name) for name in model.__dataclass_fields__}
    with pytest.raises(ValueError, match=r"model|arrays|weights"):
        LinearModel(**{**fields, **change})
