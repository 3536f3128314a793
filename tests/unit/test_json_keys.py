"""What is seen in the bytes of many lines at once, beside a reader that goes byte by byte."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest

from headrace.events.formats import json_keys, json_lines
from headrace.events.formats.json_bits import bits_of, count, odd_up_to, places_of
from headrace.events.formats.json_keys import Keys, Marks, NullKeys, count_keys, count_points, marks, nulls
from headrace.events.formats.json_lines import Lines

#: Texts in which keys and nulls only seem to be.
TEXTS = ["", ":", ": ", "n", ":null", 'a "b": null', "a : b", "\\", '\\"', '\\":', "{[", "é", "1.5", ", "]


@pytest.fixture(autouse=True, params=[16, 100, 10**6])
def _small_pieces(request: pytest.FixtureRequest) -> Iterator[None]:
    """Bytes are looked at in pieces; with small ones every seam is met."""
    with (
        mock.patch.object(json_lines, "CHUNK_BYTES", request.param),
        mock.patch.object(json_keys, "_CHUNK_BYTES", request.param),
    ):
        yield


def events(random_: random.Random, count: int) -> list[bytes]:
    """Return flat and nested events in several layouts."""

    def value(depth: int) -> object:
        scalars = [None, True, False, 7, -1.5, 2.0, random_.choice(TEXTS), random_.choice(TEXTS)]
        nested = [[value(depth - 1)], {random_.choice(TEXTS): value(depth - 1)}] if depth else []
        return random_.choice([*scalars, *nested])

    found = []
    for _ in range(count):
        event = {random_.choice([*TEXTS, "name", "a long name"]): value(2) for _ in range(4)}
        separators = random_.choice([(",", ":"), (", ", ": "), (" ,", "\t:\r")])
        ascii_ = bool(random_.randrange(2))
        found.append(json.dumps(event, separators=separators, ensure_ascii=ascii_).encode())
    return found


def outside_strings(text: bytes) -> list[int]:
    """Return the positions outside strings, one byte after the other."""
    found, inside, escaped = [], False, False
    for at, byte in enumerate(text):
        if inside:
            inside = escaped or byte != ord('"')
            escaped = byte == ord("\\") and not escaped
        elif byte == ord('"'):
            inside = True
        else:
            found.append(at)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_keys_nulls_and_points_are_those_outside_strings(seed: int) -> None:
    bodies = events(random.Random(seed), 60)
    text = b"\n".join(bodies)
    lines = Lines.of(bodies)
    outside = outside_strings(text)
    colons = [at for at in outside if text[at : at + 1] == b":"]
    assert count_keys(lines) == len(colons)
    assert Keys.of(lines).values.tolist() == [
        colon + 1 + len(text[colon + 1 :]) - len(text[colon + 1 :].lstrip()) for colon in colons
    ]
    assert nulls(lines).tolist() == [at for at in outside if text[at : at + 4] == b"null"]
    assert count_points(lines) == sum(text[at : at + 1] == b"." for at in outside)


@pytest.mark.parametrize("seed", range(4))
def test_marks_are_never_fewer_than_the_keys(seed: int) -> None:
    bodies = events(random.Random(seed), 60)
    lines = Lines.of(bodies)
    seen = marks(lines)
    assert seen.colons >= count_keys(lines)
    assert seen.quotes == sum(body.count(b'"') for body in bodies) - len(lines.escaped)


def test_marks_are_quotes_and_the_colons_behind_them() -> None:
    assert marks(Lines.of([b'{"a":1,"b" :"x"}', b'{"t":" \\":"}'])) == Marks(quotes=10, colons=3)
    assert marks(Lines.of([])) == Marks(0, 0)


@pytest.mark.parametrize(
    "name", ["", "a", "name", "sixsix", "seven77", "a name of words", "é", ":", "n" * 40]
)
def test_the_key_of_a_null_is_told_by_its_bytes(name: str) -> None:
    for other in (name + "x", "x" + name, name.upper() + "y", '"' + name, "z" * len(name) + "z"):
        first, second = ({key: None} for key in (name, other))
        bodies = [json.dumps(event, ensure_ascii=False).encode() for event in (first, second, second, first)]
        lines = Lines.of(bodies)
        assert NullKeys.of(lines, nulls(lines)).of_name(name).tolist() == [0, 3]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 1.0])
def test_bits_are_the_mask(share: float) -> None:
    random_ = np.random.default_rng(7)
    for size in (0, 1, 63, 64, 65, 20_000, 20_001):
        mask = random_.random(size) < share
        bits = bits_of(mask)
        assert places_of(bits).tolist() == np.flatnonzero(mask).tolist()
        assert count(bits) == np.count_nonzero(mask)
        odd = np.unpackbits(odd_up_to(bits).view(np.uint8), bitorder="little")[:size]
        assert odd.tolist() == (np.cumsum(mask) % 2).tolist()


@pytest.mark.parametrize("longest", [0, 1, 5, 6, 30])
def test_a_line_that_is_too_long_is_found_wherever_it_stands(longest: int) -> None:
    for at in range(4):
        bodies = [b"x" * 3, b"", b"x" * 2, b"x" * 3]
        bodies.insert(at, b"x" * longest)
        lines = Lines(b"\n".join(bodies), len(bodies))
        assert lines.none_longer_than(5) == (longest <= 5)
        assert [lines.text(line) for line in range(len(bodies))] == bodies
        assert Lines(lines.joined, lines.count).text(0) == bodies[0]
