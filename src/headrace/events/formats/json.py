"""JSON: bodies to batches and batches to text; every value exactly, or a reason why not."""

from headrace.events.formats.json_bodies import objects_of
from headrace.events.formats.json_decode import JsonDecoder
from headrace.events.formats.json_encode import encode_block, encode_lines, encode_rows
from headrace.events.formats.json_rows import from_rows, rows

__all__ = [
    "JsonDecoder",
    "encode_block",
    "encode_lines",
    "encode_rows",
    "from_rows",
    "objects_of",
    "rows",
]
