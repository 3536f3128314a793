"""The readers of JSON, each to be tested alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest import mock

from headrace.events.formats import json_decode
from headrace.events.formats.json_compiled import COMPILED, read_compiled
from headrace.events.formats.json_structs import read_structs

_READS: Final = (
    {"compiled": read_compiled, "structs": read_structs} if COMPILED else {"structs": read_structs}
)

#: The readers that need a schema.
FAST: Final = tuple(_READS)
READERS: Final = (*FAST, "exact")


@contextmanager
def only_reader(name: str) -> Iterator[None]:
    """Let the named reader see batches of any size."""
    least = 10**9 if name == "exact" else 1
    with mock.patch.multiple(json_decode, _FAST_LINES=least, _read_fast=_READS.get(name)):
        yield
