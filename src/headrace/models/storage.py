"""Models in files: one file each, no pickle, checksummed, the same bytes for the same model.

A file is two lines and two pieces of binary::

    headrace-model 1            what it is, and the version of this layout
    {"kind": "linear", ...}     name, classes, metadata and, of each array, name, dtype and shape
    a zstd frame                the words, joined by newlines, then the arrays' bytes, little-endian
    32 bytes                    SHA-256 of all before it

Reading one runs nothing that stands in it: bytes become numbers and text, and every length is checked first.
"""

from __future__ import annotations

import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from headrace.errors import UserError, did_you_mean
from headrace.limits import MAX_MODEL_BYTES
from headrace.local.files import replacing
from headrace.models.linear import LinearClassifier, LinearModel

#: Models that come with the package, by name.
SHIPPED: Final = ("papers",)

#: How a file of a model is called by custom; a bare ``name.model`` is taken for a file.
SUFFIX: Final = ".model"

_MAGIC: Final = b"headrace-model "
_VERSION: Final = 1
_DIGEST_BYTES: Final = 32
_COMPRESSION_LEVEL: Final = 19


class _Array(msgspec.Struct, frozen=True):
    name: str
    dtype: str
    shape: tuple[int, ...]


class _Header(msgspec.Struct, frozen=True):
    kind: str
    name: str
    classes: tuple[str, ...]
    words_bytes: int
    arrays: tuple[_Array, ...]
    metadata: dict[str, object]


#: The arrays of a linear model, in the order they are written, with the types they are written as.
_ARRAYS: Final = {"word_counts": "<i4", "documents": "<i4", "weights": "<f4", "intercepts": "<f4"}


def load_model(model: str | Path) -> LinearClassifier:
    """Load a shipped model by name (``"papers"``), or a saved one by path.

    Text is a path when it holds a ``/`` or ends in ``.model``; a `Path` always is one. Raises UserError for
    an unknown name and for a file that is no model, is damaged, or is of a newer version.
    """
    if isinstance(model, str) and os.sep not in model and not model.endswith(SUFFIX):
        if model not in SHIPPED:
            advice = did_you_mean(model, SHIPPED) or f"There is: {', '.join(SHIPPED)}."
            raise UserError(
                f"no model called {model!r} comes with Headrace. {advice} A file is given as ./{model}"
            )
        content = resources.files("headrace.models").joinpath(f"shipped/{model}{SUFFIX}").read_bytes()
        return LinearClassifier(decode_model(content, model))
    try:
        content = Path(model).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the model {model}: {error.strerror}") from None
    return LinearClassifier(decode_model(content, str(model)))


def save_model(model: LinearModel, path: Path) -> int:
    """Write `model` to `path`, whole or not at all, and return the size in bytes."""
    content = encode_model(model)
    with replacing(path) as file:
        file.write(content)
    return len(content)


def encode_model(model: LinearModel) -> bytes:
    """Return the bytes of a model's file."""
    words = "\n".join(model.words).encode()
    arrays = {name: np.ascontiguousarray(getattr(model, name), dtype) for name, dtype in _ARRAYS.items()}
    header = _Header(
        kind="linear",
        name=model.name,
        classes=model.classes,
        words_bytes=len(words),
        arrays=tuple(_Array(name, _ARRAYS[name], array.shape) for name, array in arrays.items()),
        metadata=dict(model.metadata),
    )
    # One thread, the size stated: the same bytes every time.
    frame = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).compress(
        b"".join([words, *(array.tobytes() for array in arrays.values())])
    )
    content = b"%s%d\n%s\n%s" % (_MAGIC, _VERSION, msgspec.json.encode(header), frame)
    return content + hashlib.sha256(content).digest()


def decode_model(content: bytes, origin: str) -> LinearModel:
    """Return the model in the bytes of a file; `origin` names it in messages. Raises UserError."""
    _check_magic(content, origin)
    body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise UserError(f"the model {origin} is damaged: its checksum does not match. Copy or train it again")
    try:
        _, line, frame = body.split(b"\n", 2)
        header = msgspec.json.decode(line, type=_Header)
        return _model(header, _decompressed(frame))
    except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError, zstandard.ZstdError) as error:
        raise UserError(f"the model {origin} cannot be used: {error}. Train it again") from None


def _check_magic(content: bytes, origin: str) -> None:
    if not content.startswith(_MAGIC):
        kind = ""
        if content.startswith((b"\x80", b"PK")):
            kind = ": it looks like a pickle or an archive, which could run code when read"
        raise UserError(f"{origin} is not a Headrace model{kind}. Models are made by `headrace model train`")
    version = content[len(_MAGIC) :].split(b"\n", 1)[0][:20]
    if not version.isdigit():
        raise UserError(f"the model {origin} is damaged: it states no version. Copy or train it again")
    if int(version) != _VERSION:
        raise UserError(
            f"the model {origin} has version {int(version)}, this Headrace reads version {_VERSION}: "
            "use the Headrace that wrote it, a newer one, or train it again"
        )


def _decompressed(frame: bytes) -> bytes:
    size = zstandard.frame_content_size(frame)
    if not 0 <= size <= MAX_MODEL_BYTES:
        raise ValueError(f"its content of {size} bytes is over the limit of {MAX_MODEL_BYTES}")
    return zstandard.ZstdDecompressor().decompress(frame)


def _model(header: _Header, content: bytes) -> LinearModel:
    if header.kind != "linear":
        raise ValueError(f"models of kind {header.kind!r} are not known")
    if {array.name: array.dtype for array in header.arrays} != _ARRAYS:
        raise ValueError("it does not hold the arrays of a linear model")
    words = content[: header.words_bytes].decode()
    arrays: dict[str, NDArray[np.generic]] = {}
    place = header.words_bytes
    for array in header.arrays:
        values = np.frombuffer(content, array.dtype, _count(array.shape), place)
        arrays[array.name] = values.reshape(array.shape)
        place += values.nbytes
    if place != len(content):
        raise ValueError("it is longer than its arrays")
    return LinearModel(
        name=header.name,
        classes=header.classes,
        words=tuple(words.split("\n")) if words else (),
        word_counts=arrays["word_counts"].astype(np.int32),
        documents=arrays["documents"].astype(np.int32),
        weights=arrays["weights"].astype(np.float32),
        intercepts=arrays["intercepts"].astype(np.float32),
        metadata=header.metadata,
    )


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        if length < 0:
            raise ValueError("an array has a negative length")
        count *= length
    return count
