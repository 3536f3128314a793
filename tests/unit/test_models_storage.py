"""Models in files: what comes back, and what is refused."""

import hashlib
import io
import pickle

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import UserError
from headrace.limits import MAX_MODEL_BYTES
from headrace.models.linear import LinearModel
from headrace.models.storage import decode_model, encode_model, load_model, save_model


def toy():
    counts = np.array([[3, 1], [0, 2]], np.int32)
    weights = np.array([[1.5, -1], [-2, 1e-30]], np.float32)
    sizes, intercepts = np.array([3, 3], np.int32), np.array([0.1, -0.1], np.float32)
    return LinearModel(
        "toy", ("é", "a"), ("of", "energy"), counts, sizes, weights, intercepts, {"made": ["by", 1]}
    )


def sealed(body):
    return body + hashlib.sha256(body).digest()


def refused(content):
    with pytest.raises(UserError) as caught:
        decode_model(content, "it.model")
    assert "it.model" in str(caught.value)
    return str(caught.value)


def test_a_saved_model_comes_back_as_it_was(tmp_path):
    path = tmp_path / "toy.model"
    size = save_model(toy(), path)
    back = load_model(path).model
    assert path.stat().st_size == size
    assert (back.name, back.classes, back.words, back.metadata) == (
        "toy",
        ("é", "a"),
        ("of", "energy"),
        toy().metadata,
    )
    for name in ("word_counts", "documents", "weights", "intercepts"):
        assert getattr(back, name).dtype == getattr(toy(), name).dtype
        assert (getattr(back, name) == getattr(toy(), name)).all()
    assert encode_model(back) == encode_model(toy()) == path.read_bytes()


def test_a_model_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "toy.model"
    path.write_bytes(b"old")
    with pytest.raises(UserError, match="cannot write"):
        save_model(toy(), tmp_path / "missing" / "toy.model")
    assert [file.name for file in tmp_path.iterdir()] == ["toy.model"]


@given(st.data())
def test_any_damage_is_noticed(data):
    content = bytearray(encode_model(toy()))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    refused(bytes(content))
    refused(encode_model(toy())[:place])


def test_a_newer_version_is_refused_by_its_number():
    body = encode_model(toy())[:-32].replace(b"headrace-model 1", b"headrace-model 2", 1)
    assert "version 2" in refused(sealed(body))


def test_a_pickle_is_refused_and_not_run():
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("the pickle ran",)

    assert "pickle" in refused(pickle.dumps(Bomb()))
    archive = io.BytesIO()
    np.savez(archive, weights=np.zeros(3))
    assert "archive" in refused(archive.getvalue())


def rebuilt(change=None, frame=None):
    """A file with a right checksum whose header or content is not what it should be."""
    body = encode_model(toy())[:-32]
    magic, line, old_frame = body.split(b"\n", 2)
    header = {**msgspec.json.decode(line), **(change or {})}
    return sealed(b"\n".join([magic, msgspec.json.encode(header), old_frame if frame is None else frame]))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "forest"},
        {"words_bytes": 3},
        {"words_bytes": -1},
        {"words_bytes": 10**30},
        {"classes": ["a", "b", "c"]},
        {"classes": 5},
        {"arrays": []},
        {"arrays": [{"name": "weights", "dtype": "O", "shape": [2, 2]}]},
    ],
)
def test_a_header_that_does_not_fit_is_refused(change):
    assert "cannot be used" in refused(rebuilt(change))


@pytest.mark.parametrize("shape", [[-1, 2], [10**15, 10**15], [3, 2], [2]])
def test_an_array_of_another_shape_is_refused(shape):
    header = msgspec.json.decode(encode_model(toy()).split(b"\n", 2)[1])
    header["arrays"][0]["shape"] = shape
    assert "cannot be used" in refused(rebuilt({"arrays": header["arrays"]}))


def test_a_frame_that_would_fill_the_memory_is_refused_unopened():
    huge = bytearray(zstandard.ZstdCompressor().compress(b"x" * 300))
    parameters = zstandard.get_frame_parameters(bytes(huge))
    assert parameters.content_size == 300
    bomb = zstandard.ZstdCompressor().compressobj(size=MAX_MODEL_BYTES + 1)
    piece = bytes(1024 * 1024)
    frame = b"".join([bomb.compress(piece) for _ in range(MAX_MODEL_BYTES // len(piece))])
    frame += bomb.compress(b"x") + bomb.flush()
    assert "limit" in refused(rebuilt(frame=frame))
    assert "cannot be used" in refused(rebuilt(frame=b"no frame"))


@pytest.mark.parametrize("name", ["paper", "..", "", "papers.txt", "PAPERS"])
def test_a_name_is_not_taken_for_a_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name not in ("..", ""):
        save_model(toy(), tmp_path / name)
    with pytest.raises(UserError, match="papers"):
        load_model(name)


def test_a_path_that_leads_nowhere_is_the_users_mistake(tmp_path):
    for path in (tmp_path / "no.model", tmp_path, str(tmp_path / "no"), "no.model"):
        with pytest.raises(UserError, match="cannot read"):
            load_model(path)
