"""The formats of events by name, and who decodes them."""

from __future__ import annotations

from typing import Literal

from headrace.events.formats.avro import AvroDecoder
from headrace.events.formats.avro_blocks import avro_library
from headrace.events.formats.csv import CsvDecoder
from headrace.events.formats.decoded import Decoder
from headrace.events.formats.json import JsonDecoder
from headrace.events.formats.parquet import ParquetDecoder

#: What the bodies of an input may be.
Format = Literal["json", "csv", "avro", "parquet"]


def decoder_of(form: Format, header: bytes = b"", delimiter: str = ",") -> Decoder:
    """Return a new decoder of bodies in a format; `header` is what stands once before all of them.

    Raises UserError when the format needs a package that is not installed.
    """
    match form:
        case "csv":
            return CsvDecoder(header, delimiter)
        case "avro":
            avro_library()
            return AvroDecoder()
        case "parquet":
            return ParquetDecoder()
    return JsonDecoder()
