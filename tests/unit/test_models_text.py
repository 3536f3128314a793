"""Words of documents, against a regular expression."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.models.text import WORD_PATTERN, Vocabulary, ascii_lower

WORDS = ("the", "of", "energy", "hamiltonian", "magnetohydrodynamics", "abcdefghijklmnopqrstuvwx", "ab")


def counted(vocabulary, documents):
    """The counts of known words per document, and of all unknown runs together."""
    found = [{} for _ in documents]
    for rows, occurrences in vocabulary.chunks(documents):
        for document, word, count in zip(
            occurrences.documents.tolist(),
            occurrences.words.tolist(),
            occurrences.counts.tolist(),
            strict=True,
        ):
            if word < len(vocabulary):
                found[rows.start + document][vocabulary.words[word]] = count
    return found


def expected(words, documents):
    """The same by a regular expression and a dict."""
    found = []
    for document in documents:
        counts = {}
        for word in re.findall(WORD_PATTERN, ascii_lower(document)):
            if word in words:
                counts[word] = counts.get(word, 0) + 1
        found.append(counts)
    return found


pieces = st.one_of(
    st.sampled_from([*WORDS, *(word.upper() for word in WORDS), *(word + "x" for word in WORDS), "Energy"]),
    st.text("abAB \n\0-\\$é\u212a\u0130\u017f", max_size=4),
    st.text(max_size=5),
)
documents = st.lists(st.lists(pieces, max_size=12).map("".join) | st.lists(pieces).map(" ".join), max_size=6)


@given(documents)
def test_words_are_those_of_the_regular_expression(texts):
    assert counted(Vocabulary(WORDS), texts) == expected(WORDS, texts)


@given(st.lists(st.text("ab", min_size=2, max_size=24), unique=True, max_size=300))
def test_every_word_of_a_vocabulary_is_found_and_no_other(words):
    others = [word + "b" for word in words] + ["a" * 25, "b" * 30, "a"]
    texts = [*words, *others]
    assert counted(Vocabulary(words), texts) == expected(words, texts)


def test_text_larger_than_a_chunk_is_the_same_as_in_pieces():
    texts = ["energy of the Hamiltonian " * n for n in (1, 9000, 0, 20000, 3)] * 3
    vocabulary = Vocabulary(WORDS)
    assert len(list(vocabulary.chunks(texts))) > 3
    assert counted(vocabulary, texts) == expected(WORDS, texts)


def test_documents_without_words_and_no_documents_are_no_trouble():
    vocabulary = Vocabulary(WORDS)
    assert counted(vocabulary, ["", "123", "\0\0"]) == [{}, {}, {}]
    assert list(vocabulary.chunks([])) == []
    assert counted(Vocabulary([]), ["the energy"]) == [{}]


@pytest.mark.parametrize("words", [["a"], ["Energy"], ["two words"], ["of", "of"], [""], ["x" * 25], ["né"]])
def test_a_vocabulary_refuses_what_is_no_word(words):
    with pytest.raises(ValueError, match="distinct words"):
        Vocabulary(words)
