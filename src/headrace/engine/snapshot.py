"""States as bytes and back, without pickle: what is written is data and runs nothing when it is read.

The bytes are a magic word, a version and a checksum, then zstd of a msgpack list: the tree of values, and the
frames that it refers to, each as an Arrow IPC stream.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import polars as pl
import zstandard

from headrace.engine.operator import State
from headrace.errors import Fatal, UserError
from headrace.events.batch import POLARS_FAULTS, Batch, Column, ValueType
from headrace.limits import MAX_JSON_DEPTH

_MAGIC: Final = b"HRST"

#: What decodes differently has another version.
VERSION: Final = 1

_HEADER_BYTES: Final = len(_MAGIC) + 1 + 4

_INT64: Final = range(-(2**63), 2**63)

_ADVICE: Final = "A state holds None, bool, int, float, str, lists, dicts with names as keys, and frames"


def encode(state: State) -> bytes:
    """Return `state` as bytes that `decode` turns back into an equal state, tuples and frames included.

    Raises UserError, with the place, for a value that no state may hold.
    """
    frames: list[bytes] = []
    tree = _tree(state, frames, "state", MAX_JSON_DEPTH)
    plain = msgspec.msgpack.encode([tree, frames])
    packed = zstandard.ZstdCompressor(level=1).compress(plain)
    return _MAGIC + bytes([VERSION]) + zlib.crc32(packed).to_bytes(4, "big") + packed


def decode(encoded: bytes) -> State:
    """Return the state that `encode` wrote. Raises Fatal for bytes that are damaged or of another version."""
    if len(encoded) < _HEADER_BYTES or encoded[: len(_MAGIC)] != _MAGIC:
        raise Fatal("the saved state is damaged: it does not begin as a saved state does")
    version = encoded[len(_MAGIC)]
    if version != VERSION:
        raise Fatal(
            f"the saved state has format {version}, and this version of Headrace reads {VERSION}. "
            "Go on with the version that wrote it, or start the job from the beginning"
        )
    packed = encoded[_HEADER_BYTES:]
    if zlib.crc32(packed).to_bytes(4, "big") != encoded[len(_MAGIC) + 1 : _HEADER_BYTES]:
        raise Fatal("the saved state is damaged: its checksum is wrong")
    try:
        tree, frames = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(packed))
        state = _value(tree, frames)
    except (
        zstandard.ZstdError,
        msgspec.DecodeError,
        ValueError,
        TypeError,
        LookupError,
        *POLARS_FAULTS,
    ) as e:
        raise Fatal(f"the saved state is damaged: {e}") from None
    if not isinstance(state, Mapping):
        raise Fatal("the saved state is damaged: it is no state")
    return state


def _tree(value: Any, frames: list[bytes], path: str, depth: int) -> Any:
    """Return `value` as msgpack holds it; every list in it begins with the word for what it is."""
    if value is None or isinstance(value, bool | float | str):
        return _scalar(value, path)
    if isinstance(value, int):
        return value if value in _INT64 else ["integer", str(value)]
    if isinstance(value, pl.DataFrame):
        return ["frame", _frame(value, frames, path)]
    if isinstance(value, Batch):
        columns = [[column.name, list(column.planes), column.open] for column in value.columns]
        return ["batch", _frame(value.frame, frames, path), columns]
    if depth == 0:
        raise UserError(f"{path} is nested deeper than {MAX_JSON_DEPTH}. {_ADVICE}")
    if isinstance(value, Mapping):
        if wrong := next((key for key in value if not isinstance(key, str)), None):
            raise UserError(f"{path} has the key {wrong!r}, which is no text. {_ADVICE}")
        members = value.items()
        return ["mapping", {k: _tree(item, frames, f"{path}.{k}", depth - 1) for k, item in members}]
    if isinstance(value, list | tuple):
        items = (_tree(item, frames, f"{path}[{i}]", depth - 1) for i, item in enumerate(value))
        return ["tuple" if isinstance(value, tuple) else "list", *items]
    raise UserError(f"{path} is a {type(value).__name__}, which cannot be saved. {_ADVICE}")


def _scalar(value: bool | float | str | None, path: str) -> bool | float | str | None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UserError(f"{path} is a text that is no Unicode: {value[:40]!r}") from None
        return str(value)
    return float(value) if isinstance(value, float) else value


def _frame(frame: pl.DataFrame, frames: list[bytes], path: str) -> int:
    """Add a frame to `frames` and return its number."""
    for name, dtype in frame.schema.items():
        if dtype == pl.Object:
            raise UserError(f"{path} has the column {name!r} of Python objects, which cannot be saved")
    buffer = io.BytesIO()
    # Polars locks the frame that it writes and then waits for Python, which another thread may hold while it
    # waits for that frame: a clone has a lock of its own, and the same columns.
    frame.clone().write_ipc_stream(buffer)
    frames.append(buffer.getvalue())
    return len(frames) - 1


def _value(tree: Any, frames: Sequence[bytes]) -> Any:
    if not isinstance(tree, list):
        return tree
    tag, *rest = tree
    match tag:
        case "list":
            return [_value(item, frames) for item in rest]
        case "tuple":
            return tuple(_value(item, frames) for item in rest)
        case "mapping":
            return {name: _value(item, frames) for name, item in rest[0].items()}
        case "frame":
            return pl.read_ipc_stream(frames[rest[0]])
        case "batch":
            columns = (Column(name, tuple(map(ValueType, planes)), open_) for name, planes, open_ in rest[1])
            return Batch(pl.read_ipc_stream(frames[rest[0]]), tuple(columns))
        case "integer":
            return int(rest[0])
    raise ValueError(f"a value is of the unknown kind {tag!r}")
