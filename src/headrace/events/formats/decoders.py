"""The formats of events by name, and who decodes them."""

from __future__ import annotations

from typing import Literal

from headrace.events.formats.csv import CsvDecoder
from headrace.events.formats.decoded import Decoder
from headrace.events.formats.json import JsonDecoder

#: What the bodies of an input may be.
Format = Literal["json", "csv"]


def decoder_of(form: Format, header: bytes = b"", delimiter: str = ",") -> Decoder:
    """Return a new decoder of bodies in a format; `header` is what stands once before all of them."""
    return CsvDecoder(header, delimiter) if form == "csv" else JsonDecoder()
