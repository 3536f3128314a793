"""Avro object container files: typed rows, read block by block, and batches as whole files."""

from headrace.events.formats.avro_encode import encode_avro
from headrace.events.formats.avro_read import AvroDecoder, AvroRows

__all__ = ["AvroDecoder", "AvroRows", "encode_avro"]
