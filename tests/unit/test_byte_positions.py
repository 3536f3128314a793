"""Where a byte occurs, found by compiled code and by NumPy."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.events.formats import byte_positions
from headrace.events.formats.byte_positions import positions


@pytest.fixture(params=["compiled", "numpy"], scope="module", autouse=True)
def _way(request):
    library = byte_positions._LIBRARY if request.param == "compiled" else None
    with mock.patch.multiple(byte_positions, _LIBRARY=library, _CHUNK_BYTES=48, _LEAST_ROOM=16):
        yield


@given(
    st.binary(max_size=200) | st.lists(st.sampled_from(b"ab\n{"), max_size=200).map(bytes), st.integers(0, 9)
)
def test_every_place_of_a_byte_is_found_in_order(text, skipped):
    buffer = np.frombuffer(text, np.uint8)[skipped:]
    assert positions(buffer, ord("\n")).tolist() == [
        at for at, byte in enumerate(buffer) if byte == ord("\n")
    ]


@given(st.lists(st.sampled_from(b"[{x"), max_size=100).map(bytes))
def test_bits_that_are_folded_do_not_count(text):
    found = positions(np.frombuffer(text, np.uint8), ord("{"), fold=0x20)
    assert found.tolist() == [at for at, byte in enumerate(text) if byte in b"[{"]


def test_a_text_that_is_nothing_else_has_the_byte_everywhere():
    buffer = np.full(100_000, ord("\n"), np.uint8)
    assert (positions(buffer, ord("\n")) == np.arange(100_000)).all()
    assert positions(buffer[::2], ord("\n")).size == 50_000
