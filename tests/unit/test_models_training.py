"""Training: against scikit-learn's own pipeline, repeatable, calibrated."""

import sys

import numpy as np
import polars as pl
import pytest

from headrace.errors import DataError, UserError
from headrace.models.generator import generate_documents
from headrace.models.linear import LinearClassifier, ranked
from headrace.models.storage import encode_model, load_model
from headrace.models.training import calibrated_scale, pipeline, train

pytest.importorskip("sklearn")


def softmax(decisions):
    odds = np.exp(decisions - decisions.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_those_of_the_pipeline_of_scikit_learn(classes):
    frame = generate_documents(load_model("papers").model, 700, 3)
    if classes == 2:
        frame = frame.filter(pl.col("class").is_in(["math", "bio"]))
    taught, judged = frame.head(500 if classes == 5 else 200), frame.tail(200)
    classifier = LinearClassifier(train("small", taught["doc"], taught["class"]))

    svm, vectorizer = pipeline()
    svm.fit(vectorizer.fit_transform(taught["doc"].to_list()), taught["class"].to_list())
    odd = [
        "",
        "$\\mathbb{R}$ ÉNERGIE Energy ENERGY",
        "\u212aelvin \u0130stanbul naïve",
        "x" * 5000,
        "of " * 9000,
    ]
    documents = judged["doc"].to_list() + odd
    decisions = svm.decision_function(vectorizer.transform(documents))
    if classes == 2:
        decisions = np.column_stack([-decisions, decisions])

    # The scale is the one freedom that training has beyond the pipeline.
    scale = np.linalg.norm(classifier.model.weights[:, -1]) / np.linalg.norm(svm.coef_[-1])
    assert np.abs(classifier.probabilities(documents) - softmax(decisions * scale)).max() < 1e-4
    assert (ranked(classifier.probabilities(documents))[:, 0] == decisions.argmax(axis=1)).all()


def test_training_twice_gives_the_same_bytes():
    frame = generate_documents(load_model("papers").model, 120, 5)
    first, second = (encode_model(train("m", frame["doc"], frame["class"])) for _ in range(2))
    assert first == second


def test_words_stand_by_frequency_and_counts_are_of_documents():
    documents = pl.Series(["energy energy of", "of state", "of the energy", "of none state"])
    model = train("m", documents, pl.Series(["a", "b", "a", "b"]))
    assert model.words == ("of", "energy", "state")
    assert model.word_counts.tolist() == [[2, 2], [2, 0], [0, 2]]
    assert model.documents.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("documents", "labels", "says"),
    [
        (["of it", "of us"], ["a", "a"], "two or more classes"),
        (["of it", "of us", "of"], ["a", "a", "b"], "'b' has one"),
        (["1", "2", "3", "4"], ["a", "a", "b", "b"], "nothing to learn from"),
    ],
)
def test_training_says_what_it_cannot_learn_from(documents, labels, says):
    with pytest.raises(DataError, match=says):
        train("m", pl.Series(documents), pl.Series(labels))


def test_calibration_finds_the_scale_that_made_the_labels():
    random = np.random.default_rng(1)
    decisions = random.normal(size=(20_000, 3))
    numbers = np.array([random.choice(3, p=row) for row in softmax(decisions * 2.5)])
    assert calibrated_scale(decisions, numbers) == pytest.approx(2.5, rel=0.05)


def test_without_scikit_learn_training_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(UserError, match=r"headrace\[train\]"):
        pipeline()
