"""The settings of files as outputs: one that is appended to, or files that appear whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from headrace.connect.file_making import WHOLE, Compression, Format, Making
from headrace.connect.file_output import FileSink
from headrace.connect.file_places import check_output_path, glob_of, instance_path, placeholders
from headrace.connect.sink import StagedSink
from headrace.connect.whole_files import Rules, WholeFilesSink
from headrace.events.formats.csv import DELIMITERS
from headrace.limits import MAX_WHOLE_FILE_MEGABYTES
from headrace.local.namespace import Namespace
from headrace.local.parts import PartRecord
from headrace.local.staged import StagedFile

#: Files that appear whole are closed by these unless the settings say otherwise.
MAX_SECONDS: Final = 300.0
MAX_MEGABYTES: Final = 64.0

_FORMATS: Final[dict[str, Format]] = {".csv": "csv", ".avro": "avro", ".parquet": "parquet"}
_COMPRESSIONS: Final[dict[str, Compression]] = {".gz": "gzip", ".zst": "zstd"}

#: How formats that are compressed inside usually are; gzip stands for deflate.
_COMPRESSED_INSIDE: Final[dict[Format, Compression]] = {"avro": "gzip", "parquet": "zstd"}

_MEGABYTE: Final = 1_000_000


class FileOutputSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="file", tag_field="kind"
):
    """``kind = "file"`` for an output: `path` starts from the project's folder.

    The file is appended to. With a rule that closes it, placeholders for values of rows in `path`, a
    compression, or a format that needs all rows at once, there are files that appear whole.
    """

    path: str | None = None
    format: Format | None = None
    compression: Compression | None = None
    delimiter: str = ","
    max_rows: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_megabytes: Annotated[float, msgspec.Meta(gt=0, le=MAX_WHOLE_FILE_MEGABYTES)] | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError('path is missing: expected a file such as "out/rows.jsonl"')
        if "\0" in self.path:
            raise ValueError("path holds a NUL, which no name can")
        if self.delimiter not in DELIMITERS:
            known = ", ".join(map(repr, DELIMITERS))
            raise ValueError(f"delimiter: expected one of {known}, found {self.delimiter!r}")
        if self.written_format in WHOLE and Path(self.path).suffix in _COMPRESSIONS:
            raise ValueError(
                f"path: {self.written_format} files are compressed inside, found {self.path!r}. Leave out "
                "its last suffix"
            )

        if self.written_format == "avro" and self.compression == "zstd":
            raise ValueError("compression: expected none or gzip for Avro files, found 'zstd'")

    @property
    def given_path(self) -> str:
        """The path, which there always is."""
        assert self.path is not None
        return self.path

    @property
    def written_format(self) -> Format:
        """The format, by the suffix of the path unless it is given."""
        suffixes = [suffix for suffix in Path(self.given_path).suffixes if suffix not in _COMPRESSIONS]
        return self.format or _FORMATS.get(suffixes[-1] if suffixes else "", "json")

    @property
    def written_compression(self) -> Compression:
        """The compression, unless it is given that of the format, or by the suffix of the path."""
        usual = _COMPRESSED_INSIDE.get(self.written_format) or "none"
        return self.compression or _COMPRESSIONS.get(Path(self.given_path).suffix, usual)

    @property
    def is_appended(self) -> bool:
        """Whether there is one file that rows are appended to for ever."""
        rules = (self.max_rows, self.max_seconds, self.max_megabytes)
        return not (
            any(rule is not None for rule in rules)
            or placeholders(self.given_path)
            or self.written_format in WHOLE
            or self.written_compression != "none"
        )

    @property
    def rules(self) -> Rules:
        """When files that appear whole are closed."""
        megabytes = MAX_MEGABYTES if self.max_megabytes is None else self.max_megabytes
        seconds = MAX_SECONDS if self.max_seconds is None else self.max_seconds
        return Rules(self.max_rows, seconds, int(megabytes * _MEGABYTE))

    def pattern(self, instance: int) -> str:
        """Return a glob that matches the files that an instance writes."""
        return glob_of(instance_path(self.given_path, instance), numbered=not self.is_appended)


def open_file_sink(
    namespace: Namespace,
    folder: Path,
    settings: FileOutputSettings,
    columns: tuple[str, ...] | None,
    *,
    job: str,
    output: str,
    instance: int,
    line: str,
) -> StagedSink:
    """Open files as an output for the line of an instance.

    `columns` are those of the query, None where the data name some. Raises `UserError` for a path that cannot
    be.
    """
    check_output_path(output, settings.given_path)
    path = instance_path(settings.given_path, instance)
    making = Making(
        settings.written_format,
        settings.written_compression,
        settings.delimiter,
        None if settings.written_format == "json" else columns,
    )
    if settings.is_appended:
        return FileSink(StagedFile(namespace, job, line, output), folder, path, making)
    return WholeFilesSink(PartRecord(namespace, job, line, output), folder, path, making, settings.rules)
