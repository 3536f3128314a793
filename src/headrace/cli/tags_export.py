"""Write points of tags to a new folder, whole or not at all: as Parquet, as CSV, or a text file for each tag.

`files` is the layout that the paper's workers wrote: `TENANT/GUID-DIGITS.bin` with lines `time,value`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from headrace.cli.options import add_json, plain
from headrace.cli.show import count_text, print_json, print_lines, waiting
from headrace.cli.tags_options import TAGS_HELP, add_how, add_store, add_times, given, opened
from headrace.errors import UserError, disk_error
from headrace.local.files import sync_folder
from headrace.names import safe_file_stem

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.6fZ"


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser("export", help="write points of tags to a folder", description=plain(__doc__))
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a new folder")
    parser.add_argument("tags", metavar="TAG", nargs="*", default=["*"], help=f"{TAGS_HELP} (default: all)")
    parser.add_argument("--format", choices=["parquet", "csv", "files"], default="parquet")
    add_times(parser)
    add_how(parser)
    add_store(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder under another name, then give it its own."""
    folder: Path = arguments.folder
    if folder.exists() or not folder.absolute().parent.is_dir():
        problem = "there is one already" if folder.exists() else "the folder above it is not there"
        raise UserError(f"cannot write the folder {folder}: {problem}. Name a new one")
    written = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        with opened(arguments) as reader, waiting(f"writing {folder}"):
            tenant = reader.tenant(arguments.tenant)
            frames = reader.frames(**given(arguments))
            written.mkdir()
            points = _write(frames, written, tenant, arguments.format)
        written.rename(folder)
        sync_folder(folder.absolute().parent)
    except OSError as error:
        raise disk_error(error.errno or 0, folder, problem=error.strerror or str(error)) from None
    finally:
        shutil.rmtree(written, ignore_errors=True)
    if arguments.json:
        print_json({"folder": str(folder), "points": points})
    else:
        print_lines([f"{count_text(points, 'point')} in {folder}"])
    return 0


def _write(frames: Iterator[pl.DataFrame], folder: Path, tenant: str, file_format: str) -> int:
    points = 0
    for number, frame in enumerate(frames):
        points += len(frame)
        if file_format == "files":
            _append(frame, folder, tenant)
            continue
        with (folder / f"points-{number:05}.{file_format}").open("xb") as file:
            if file_format == "parquet":
                frame.write_parquet(file)
            else:
                frame.write_csv(file, datetime_format=_TIME_FORMAT)
            _sync(file)
    sync_folder(folder)
    return points


def _append(frame: pl.DataFrame, folder: Path, tenant: str) -> None:
    own = folder / safe_file_stem(tenant)
    own.mkdir(exist_ok=True)
    digits = hashlib.sha256(tenant.encode()).hexdigest()[:32]
    for (tag,), points in frame.group_by(["tag"], maintain_order=True):
        with (own / f"{tag}-{digits}.bin").open("ab") as file:
            points.drop("tag").write_csv(file, include_header=False, datetime_format=_TIME_FORMAT)
            _sync(file)
    sync_folder(own)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
