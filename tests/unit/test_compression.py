"""Compressed files: read in pieces, whole, and no further than a bomb would reach."""

import gzip
import os
import zlib

import pytest
import zstandard

from headrace.errors import DataError, UserError
from headrace.events.formats.compression import compress, compression_of, open_bounded

TEXT = os.urandom(300_000) + b"a line\n" * 100_000


def read_in_pieces(path, compression, size=10_000):
    with open_bounded(path, compression) as file:
        return b"".join(iter(lambda: file.read(size), b""))


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_members_one_behind_the_other_are_one_stream(tmp_path, compression):
    path = tmp_path / "data"
    path.write_bytes(
        compress(TEXT, compression) + compress(b"", compression) + compress(b"more", compression)
    )
    assert read_in_pieces(path, compression) == TEXT + b"more"
    with open_bounded(path, compression) as file:
        assert file.read() == TEXT + b"more"


def test_zeros_behind_the_last_gzip_member_fill_a_file_up(tmp_path):
    path = tmp_path / "data.gz"
    path.write_bytes(gzip.compress(b"text") + b"\0" * 1_000_000)
    assert read_in_pieces(path, "gzip") == b"text"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("left", [3, 100_000, -1])
def test_a_file_that_ends_inside_says_where(tmp_path, compression, left):
    path = tmp_path / "data"
    packed = compress(TEXT, compression)[:left]
    path.write_bytes(packed)
    with pytest.raises(DataError, match=f"ends inside .* at byte {len(packed):,}"):
        read_in_pieces(path, compression)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_damaged_file_says_what_it_is_not(tmp_path, compression):
    path = tmp_path / "data"
    path.write_bytes(b"no such thing" * 100)
    with pytest.raises(DataError, match=f"no sound {compression} file"):
        read_in_pieces(path, compression)


def test_a_changed_byte_is_found(tmp_path):
    path = tmp_path / "data"
    for compression in ("gzip", "zstd"):
        packed = bytearray(compress(TEXT, compression))
        packed[150_000] ^= 1
        path.write_bytes(packed)
        with pytest.raises(DataError, match="no sound"):
            read_in_pieces(path, compression)


def read_all(file):
    while file.read(1 << 20):
        assert len(file._held) <= 33 << 20


def bomb(compression):
    zeros, count = b"\0" * (1 << 20), 128
    if compression == "zstd":
        packer = zstandard.ZstdCompressor().compressobj()
        return b"".join(packer.compress(zeros) for _ in range(count)) + packer.flush()
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(zeros) for _ in range(count)) + packer.flush()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, compression):
    path = tmp_path / "bomb"
    path.write_bytes(bomb(compression))
    with open_bounded(path, compression) as file, pytest.raises(DataError, match="unpacks to more than"):
        read_all(file)


def test_a_file_that_is_not_there_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        open_bounded(tmp_path / "none", "gzip")


def test_the_name_of_a_file_says_how_it_is_compressed(tmp_path):
    names = {"a.csv": "none", "a.csv.GZ": "gzip", "a.zst": "zstd"}
    assert {name: compression_of(tmp_path / name) for name in names} == names
