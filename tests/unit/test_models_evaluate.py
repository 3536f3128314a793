"""Judging guesses, keeping judges apart, and documents made for judging."""

import polars as pl
import pytest

from headrace.models.evaluate import accuracy, confusion, evaluate, held_out, top2
from headrace.models.generator import document_blocks, generate_documents
from headrace.models.linear import ranked
from headrace.models.storage import load_model

LABELS = pl.Series(["a", "a", "b", "b", "c"])
BEST = pl.Series(["a", "b", "b", None, "x"])
SECOND = pl.Series(["b", "a", "a", None, "y"])


def test_accuracy_counts_a_missing_guess_as_wrong():
    assert accuracy(LABELS, BEST) == 2 / 5
    assert top2(LABELS, BEST, SECOND) == 3 / 5


def test_no_rows_have_no_accuracy():
    nothing = pl.Series([], dtype=pl.String)
    assert str(accuracy(nothing, nothing)) == "nan"
    assert confusion(nothing, nothing).classes == ()


def test_the_confusion_matrix_keeps_the_order_asked_for_and_names_everything_that_occurs():
    matrix = confusion(LABELS, BEST, ["c", "b", "a"])
    assert matrix.classes == ("c", "b", "a", "x")
    assert matrix.counts == ((0, 0, 0, 1), (0, 1, 0, 0), (0, 1, 1, 0), (0, 0, 0, 0))


def test_an_evaluation_tells_the_classes_apart():
    result = evaluate(LABELS, BEST, SECOND)
    assert (result.documents, result.accuracy, result.top2) == (5, 0.4, 0.6)
    assert [(row.name, row.documents, row.accuracy, row.top2) for row in result.by_class] == [
        ("a", 2, 0.5, 1.0),
        ("b", 2, 0.5, 0.5),
        ("c", 1, 0.0, 0.0),
    ]


def test_what_is_held_out_hangs_on_the_id_alone():
    ids = pl.Series([f"math/{number}" for number in range(5000)])
    chosen = held_out(ids, 0.2)
    assert chosen.mean() == pytest.approx(0.2, abs=0.02)
    assert held_out(ids.reverse(), 0.2).to_list() == chosen.reverse().to_list()
    assert (held_out(ids, 0.3) | ~chosen).all(), "a larger share holds out the same documents and more"
    known = pl.Series(
        ["1801.00001", "q-bio/0401001", "1610.08809", "c", None]
    )  # digests 7c.., 4b.., bf.., 37..
    assert held_out(known, 0.4).to_list() == [False, True, False, True, True]


def test_made_documents_are_the_same_for_a_seed_and_others_for_another():
    model = load_model("papers").model
    some, more = generate_documents(model, 30, 4), generate_documents(model, 700, 4)
    assert some.equals(more.head(30))
    assert more.height == more["id"].n_unique() == more["doc"].n_unique() == 700
    assert pl.concat(document_blocks(model, 4, 700)).equals(more)
    assert not some["doc"].equals(generate_documents(model, 30, 5)["doc"])
    assert generate_documents(model, 0, 4).columns == some.columns == ["id", "title", "doc", "class"]


def test_made_documents_are_about_as_hard_as_real_ones():
    classifier = load_model("papers")
    made = generate_documents(classifier.model, 3000, 9)
    order = ranked(classifier.probabilities(made["doc"].to_list()))
    names = pl.Series(classifier.model.classes)
    assert accuracy(made["class"], names.gather(order[:, 0])) == pytest.approx(0.886, abs=0.03)
    assert top2(made["class"], names.gather(order[:, 0]), names.gather(order[:, 1])) == pytest.approx(
        0.97, abs=0.02
    )
    shares = made["class"].value_counts(normalize=True)
    assert dict(shares.iter_rows())["finance"] == pytest.approx(0.116, abs=0.03)


def test_made_titles_do_not_name_the_class_and_stay_short():
    model = load_model("papers").model
    made = generate_documents(model, 1000, 2)
    names = {name.casefold() for name in model.classes}
    for title in made["title"]:
        words = title.casefold().split()
        assert 1 <= len(words) <= 6
        assert not names & set(words)
