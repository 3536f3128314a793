"""Words of documents, found for a whole block at once with array arithmetic.

A word is a run of 2 to 24 of the letters a to z, ignoring case; everything else (digits, LaTeX, letters
beyond ASCII) separates words. `WORD_PATTERN` after `ascii_lower` says the same to a regular expression.

Finding the words of an abstract by splitting it and looking each one up in a dict takes 26 us; here the
bytes of many documents are one array, a word's (up to) 24 bytes are three 64-bit numbers, and the vocabulary
is an open hash table of such keys, which takes 6 us (`benchmarks/scoring.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SHORTEST_WORD: Final = 2
LONGEST_WORD: Final = 24
WORD_PATTERN: Final = f"(?<![a-z])[a-z]{{{SHORTEST_WORD},{LONGEST_WORD}}}(?![a-z])"

#: Bytes of text that are worked on at a time: the arrays made of them stay in a core's cache (512 KB were a
#: third slower).
_CHUNK_BYTES: Final = 256 * 1024

_LOWER: Final = bytes(range(256)).lower()
_LOWER_TEXT: Final = {upper: lower for upper, lower in enumerate(_LOWER[:128]) if upper != lower}
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz"
_LETTER_OR_ZERO: Final = bytes(lower if lower in _LETTERS else 0 for lower in _LOWER)

#: Behind the text, so that 24 bytes can be read at the start of its last word.
_PADDING: Final = bytes(LONGEST_WORD)

_Keys = NDArray[np.uint64]
_Numbers = NDArray[np.int64]


def ascii_lower(text: str) -> str:
    """Return `text` with A to Z in lower case and everything else as it is."""
    return text.translate(_LOWER_TEXT)


@dataclass(frozen=True, slots=True)
class Occurrences:
    """How often which word of the vocabulary stands in which document.

    Three arrays of one length, sorted by document, then word, without duplicates. Words that are not in the
    vocabulary count together as the word number ``len(vocabulary)``.
    """

    documents: _Numbers
    words: _Numbers
    counts: _Numbers


class Vocabulary:
    """Words by number, and the numbers of the words in documents.

    Frequent words should have the small numbers: what is looked up most then lies close together.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._unknown = len(self.words)
        joined = " ".join(self.words).encode()
        starts, lengths, text = _words(_letters([joined]))
        if (
            joined.translate(None, _LETTERS + b" ")
            or len(set(self.words)) != len(self.words)
            or len(starts) != len(self.words)
            or bool(((lengths < SHORTEST_WORD) | (lengths > LONGEST_WORD)).any())
        ):
            raise ValueError("a vocabulary is made of distinct words of 2 to 24 small letters")
        # One more key for "unknown": no word has the key 0, since keys are products of odd numbers.
        self._keys = np.append(_keys(text, starts, lengths), np.uint64(0))
        # A table about a quarter full: most words are where they are looked for first.
        bits = max(8, (3 * len(self.words)).bit_length())
        self._last_slot = np.int64((1 << bits) - 1)
        self._to_slot = np.uint64(64 - bits)
        self._slots = self._filled_slots()

    def __len__(self) -> int:
        return len(self.words)

    def chunks(self, documents: Sequence[str]) -> Iterator[tuple[slice, Occurrences]]:
        """Yield the occurrences in `documents` a chunk at a time, with the rows that the chunk covers.

        Document numbers count from the start of the chunk.
        """
        encoded = [document.encode() for document in documents]
        sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
        ends = sizes.cumsum()
        first, done_bytes = 0, 0
        while first < len(encoded):
            last = max(first + 1, int(ends.searchsorted(done_bytes + _CHUNK_BYTES, "right")))
            done_bytes = int(ends[last - 1])
            yield slice(first, last), self._occurrences(encoded[first:last], sizes[first:last])
            first = last

    def _occurrences(self, encoded: list[bytes], sizes: _Numbers) -> Occurrences:
        starts, lengths, text = _words(_letters(encoded))
        words = self._find(_keys(text, starts, lengths))

        # Starts count from the byte behind the leading separator; a separator stands behind each document.
        ends = sizes.cumsum() + np.arange(1, len(encoded) + 1)
        words_before = starts.searchsorted(ends)
        words_each = words_before.copy()
        words_each[1:] -= words_before[:-1]

        # Document and word as one number, so that one sort brings equal words of a document together.
        bits = len(self.words).bit_length()
        pairs = (np.arange(len(encoded), dtype=np.int64) << bits).repeat(words_each) + words
        pairs.sort()
        firsts = first_of_run(pairs).nonzero()[0]
        counts = np.empty_like(firsts)
        np.subtract(firsts[1:], firsts[:-1], out=counts[:-1])
        counts[-1:] = len(pairs) - firsts[-1:]
        distinct = pairs[firsts]
        return Occurrences(distinct >> bits, distinct & ((1 << bits) - 1), counts)

    def _filled_slots(self) -> NDArray[np.int32]:
        """Return the hash table: each slot holds a word's number, or "unknown" when it is free.

        A word goes to the first free slot from the one that its key names, all words a step at a time.
        """
        slots = np.full(int(self._last_slot) + 1, self._unknown, np.int32)
        words = np.arange(len(self.words), dtype=np.int32)
        wanted = self._first_slots(self._keys[:-1])
        while words.size:
            free = (slots[wanted] == self._unknown).nonzero()[0][::-1]  # the most frequent word wins
            slots[wanted[free]] = words[free]
            homeless = slots[wanted] != words
            words, wanted = words[homeless], (wanted[homeless] + 1) & self._last_slot
        return slots

    def _first_slots(self, keys: _Keys) -> _Numbers:
        return (keys >> self._to_slot).view(np.int64)

    def _find(self, keys: _Keys) -> NDArray[np.int32]:
        """Return the number of the word that has each key."""
        wanted = self._first_slots(keys)
        words = self._slots[wanted]
        others = (self._keys[words] != keys).nonzero()[0]
        others = others[words[others] != self._unknown]
        while others.size:
            wanted[others] = (wanted[others] + 1) & self._last_slot
            found = self._slots[wanted[others]]
            words[others] = found
            others = others[(self._keys[found] != keys[others]) & (found != self._unknown)]
        return words


def first_of_run(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where a run of equal `values` begins."""
    begins = np.empty(len(values), np.bool_)
    begins[:1] = True
    np.not_equal(values[1:], values[:-1], out=begins[1:])
    return begins


def _letters(encoded: list[bytes]) -> bytes:
    """Return the documents one after the other, letters in lower case and everything else a zero byte."""
    return b"".join((b"\0", b"\0".join(encoded).translate(_LETTER_OR_ZERO), b"\0", _PADDING))


def _words(letters: bytes) -> tuple[_Numbers, _Numbers, _Keys]:
    """Return the starts and the lengths of the runs of letters, and the 8 bytes at every place.

    Places count from the second byte on, so that an edge between two bytes has the number of the second.
    """
    is_letter = np.frombuffer(letters, np.uint8) != 0
    edges = (is_letter[1:] != is_letter[:-1]).nonzero()[0]
    starts = edges[0::2]
    text = np.ndarray((len(letters) - 8,), dtype="<u8", buffer=letters, offset=1, strides=(1,))
    return starts, edges[1::2] - starts, text


def _low_bytes(counts: NDArray[np.int64]) -> _Keys:
    """Return masks that keep the first `counts` (0 to 8) bytes of a little-endian number."""
    return np.array([(1 << (8 * int(count))) - 1 for count in counts.clip(0, 8)], np.uint64)


# By length of word, longer ones as LONGEST_WORD + 1: which of its three numbers' bytes belong to it.
_LENGTHS: Final = np.arange(LONGEST_WORD + 2)
_FIRST, _SECOND, _THIRD = (_low_bytes(_LENGTHS - skipped) for skipped in (0, 8, 16))
_TOO_LONG: Final = np.where(_LENGTHS > LONGEST_WORD, 0xD6E8FEB86659FD93, 0).astype(np.uint64)

# Odd numbers with well mixed bits: multiplying by one loses nothing, so that words of up to 8 letters have
# different keys for certain, longer ones but for chances of 1 in 2^64.
_MIX_1: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX_3: Final = np.uint64(0x165667B19E3779F9)
_FOLD: Final = np.uint64(29)


def _keys(text: _Keys, starts: _Numbers, lengths: _Numbers) -> _Keys:
    """Return a 64-bit key for each word."""
    lengths = np.minimum(lengths, LONGEST_WORD + 1)
    keys: _Keys = text[starts]
    keys &= _FIRST[lengths]
    keys *= _MIX_1
    long = (lengths > 8).nonzero()[0]
    if long.size:
        starts, lengths = starts[long], lengths[long]
        rest = (text[starts + 8] & _SECOND[lengths]) * _MIX_2
        rest += (text[starts + 16] & _THIRD[lengths]) * _MIX_3 + _TOO_LONG[lengths]
        keys[long] += rest
    keys ^= keys >> _FOLD
    keys *= _MIX_2
    return keys
