"""CSV (RFC 4180): records to batches of text, and batches to records."""

from headrace.events.formats.csv_decode import CsvDecoder
from headrace.events.formats.csv_encode import encode_csv
from headrace.events.formats.csv_records import BOM, DELIMITERS, Delimiter, record_ends

__all__ = ["BOM", "DELIMITERS", "CsvDecoder", "Delimiter", "encode_csv", "record_ends"]
