"""Datasets: files of tenants, opened by names from outside and read in chunks of whole lines."""

import contextlib
import gzip
import os
import random
import tracemalloc

import pytest
import zstandard

from headrace.errors import DataError, UserError
from headrace.series.dataset import FileChanged, FileGone, FileMessage, decode_message, open_store
from headrace.series.line_chunks import LineChunks, bad_line
from headrace.series.lines import SHOWN_BYTES
from headrace.series.settings import DatasetSettings

MESSAGE = FileMessage("acme", "main", "2013/05/a.csv", 12, "7")


@pytest.fixture
def store(tmp_path):
    (tmp_path / "in/acme/deep").mkdir(parents=True)
    (tmp_path / "in/bolt").mkdir()
    return open_store("in", tmp_path)


def read(reader, memory_bytes=1 << 18):
    with contextlib.closing(reader):
        return b"".join(bytes(chunk.text) for chunk in LineChunks(reader, bytearray(memory_bytes)))


def test_a_message_is_read_as_it_was_written():
    assert decode_message(MESSAGE.encode()) == MESSAGE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"tenant":"acme","store":"main","file":"a","size_bytes":"x","changed":"7"}',
        b'{"tenant":"acme","store":"main","file":"a","size_bytes":-1,"changed":"7"}',
        b'{"tenant":"../x","store":"main","file":"a","size_bytes":1,"changed":"7"}',
        b'{"tenant":"acme","store":"main","file":"../bolt/a","size_bytes":1,"changed":"7"}',
        b'{"tenant":"acme","store":"main","file":"/etc/passwd","size_bytes":1,"changed":"7"}',
        b'{"tenant":"acme","store":"main","file":"a\\u0000b","size_bytes":1,"changed":"7"}',
        b'{"tenant":"acme","store":"main","file":"a\\\\b","size_bytes":1,"changed":"7"}',
    ],
)
def test_a_message_that_names_no_file_safely_is_refused(body):
    with pytest.raises(DataError, match="is no file of a dataset"):
        decode_message(body)


def test_tenants_are_folders_and_hidden_temporary_and_leading_out_files_are_not_theirs(store, tmp_path):
    acme = tmp_path / "in/acme"
    for name in ("b.csv", "deep/a.csv", ".hidden", "c.tmp", "d.csv.part", "_SUCCESS", "e~"):
        (acme / name).write_text("x")
    (tmp_path / "in/.git").mkdir()
    (tmp_path / "in/readme.txt").write_text("x")
    (tmp_path / "in/bolt/secret.csv").write_text("x")
    (tmp_path / "outside.csv").write_text("x")
    (acme / "out.csv").symlink_to(tmp_path / "outside.csv")
    (acme / "other.csv").symlink_to(tmp_path / "in/bolt/secret.csv")
    (acme / "loop").symlink_to(acme / "loop")
    (tmp_path / "in/loop").symlink_to("loop")
    (acme / "same.csv").symlink_to(acme / "b.csv")
    (tmp_path / "in/elsewhere").symlink_to(tmp_path)
    os.mkfifo(acme / "pipe.csv")
    assert store.list_tenants() == ["acme", "bolt"]
    assert [listed.file for listed in store.list_files("acme")] == ["b.csv", "deep/a.csv", "same.csv"]
    with pytest.raises(UserError, match="leads out of"):
        store.open("acme", "out.csv")
    with pytest.raises(UserError, match="leads out of"):
        store.open("acme", "other.csv")
    with pytest.raises(DataError, match="no regular file"):
        store.open("acme", "pipe.csv")


@pytest.mark.parametrize("tenant", ["../x", "..", ".", "", "a/b", "/etc", "-x", "a\0b"])
def test_a_tenants_name_never_becomes_a_path(store, tenant):
    with pytest.raises(UserError, match="cannot name a tenant"):
        list(store.list_files(tenant))
    with pytest.raises(UserError, match="cannot name a tenant"):
        store.open(tenant, "a.csv")


@pytest.mark.parametrize("file", ["../bolt/a.csv", "deep/../../bolt/a.csv", "/etc/passwd", "", "a//b", "./a"])
def test_a_files_name_never_leads_out_of_the_tenants_folder(store, file):
    with pytest.raises(UserError, match="cannot name a file"):
        store.open("acme", file)


def test_a_file_that_is_gone_says_so(store):
    with pytest.raises(FileGone, match=r"'a.csv' of tenant 'acme' is gone"):
        store.open("acme", "a.csv")


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten"])
def test_a_file_that_changes_while_it_is_read_says_so(store, tmp_path, change):
    path = tmp_path / "in/acme/a.csv"
    path.write_bytes(b"x\n" * 300_000)
    reader = store.open("acme", "a.csv")
    chunks = iter(LineChunks(reader, bytearray(1 << 18)))
    next(chunks)
    if change == "is rewritten":
        os.utime(path, ns=(1, 1))
    else:
        os.truncate(path, 500_000 if change == "shrinks" else 700_000)
    with pytest.raises(FileChanged, match=r"'a.csv' of tenant 'acme' in .* changed while it was read"):
        list(chunks)
    reader.close()


def test_files_are_unpacked_by_their_names_and_empty_ones_hold_nothing(store, tmp_path):
    text = b"".join(b"line %d\n" % number for number in range(100_000))
    acme = tmp_path / "in/acme"
    (acme / "a.csv").write_bytes(text)
    (acme / "a.csv.gz").write_bytes(gzip.compress(text))
    (acme / "a.csv.zst").write_bytes(zstandard.compress(text))
    (acme / "empty.csv").write_bytes(b"")
    (acme / "empty.csv.gz").write_bytes(gzip.compress(b""))
    for name in ("a.csv", "a.csv.gz", "a.csv.zst"):
        assert read(store.open("acme", name)) == text
    assert read(store.open("acme", "empty.csv")) == read(store.open("acme", "empty.csv.gz")) == b""


def test_a_bomb_and_a_cut_file_are_refused_by_name(store, tmp_path):
    bomb = zstandard.ZstdCompressor(level=19).compress(b"0" * 200_000_000)
    (tmp_path / "in/acme/bomb.zst").write_bytes(bomb)
    (tmp_path / "in/acme/cut.gz").write_bytes(gzip.compress(random.Random(1).randbytes(10_000))[:5_000])
    with pytest.raises(DataError, match=r"bomb.zst unpacks to more than"):
        read(store.open("acme", "bomb.zst"))
    with pytest.raises(DataError, match=r"cut.gz ends inside its gzip data"):
        read(store.open("acme", "cut.gz"))


class Pieces:
    """A reader that gives few bytes at a time, or one line of many bytes."""

    def __init__(self, text, dice):
        self._text, self._dice = text, dice

    def readinto(self, memory):
        size = min(len(memory), len(self._text), self._dice.randint(1, 40))
        memory[:size], self._text = self._text[:size], self._text[size:]
        return size


def test_chunks_hold_each_line_once_and_pass_over_those_that_are_too_long():
    dice = random.Random(6)
    for _ in range(3_000):
        most = dice.randint(1, 12)
        memory = bytearray(dice.randint(2 * most, 60))
        text = b"".join(dice.choice([b"\n", b"ab", b"c", b"defgh"]) for _ in range(dice.randint(0, 80)))
        got = []
        for chunk in LineChunks(Pieces(text, dice), memory, max_line_bytes=most):
            got += bytes(chunk.text).splitlines()
            if chunk.too_long is not None:
                got.append(("too long", chunk.too_long[:most]))
        lines = text.splitlines()
        assert got == [line if len(line) <= most else ("too long", line[:most]) for line in lines]


def test_a_line_of_a_gigabyte_is_one_bad_line_and_takes_no_memory():
    class Endless:
        left = 1_000_000_000

        def readinto(self, memory):
            size = min(len(memory), self.left)
            self.left -= size
            if size:
                memory[0] = memory[size - 1] = ord("x")
            return size

    memory = bytearray(1 << 22)
    memory[:] = b"x" * len(memory)
    tracemalloc.start()
    chunks = [(bytes(chunk.text), chunk.too_long) for chunk in LineChunks(Endless(), memory)]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert chunks == [(b"", b"x" * SHOWN_BYTES)]
    assert peak_bytes < 1_000_000
    assert bad_line(3, b"xx").reason == "it is longer than 65,536 bytes"


def test_settings_name_what_is_wrong():
    for stores in ({}, {"../x": "in"}, {"main": ""}):
        with pytest.raises(ValueError, match="stores"):
            DatasetSettings(stores)


def test_an_object_store_is_listed_and_read_as_a_folder_is():
    obstore = pytest.importorskip("obstore")
    from obstore.store import MemoryStore

    from headrace.series.object_store import ObjectFiles

    memory = MemoryStore()
    text = b"".join(b"line %d\n" % number for number in range(500_000))
    obstore.put(memory, "acme/2013/a.csv", text)
    obstore.put(memory, "acme/b.csv.gz", gzip.compress(text))
    obstore.put(memory, "acme/c.tmp", b"x")
    obstore.put(memory, "bolt/a.csv", b"x")
    store = ObjectFiles(memory, "memory://")
    assert store.list_tenants() == ["acme", "bolt"]
    assert [(listed.file, listed.size_bytes) for listed in store.list_files("acme")][:1] == [
        ("2013/a.csv", len(text))
    ]
    assert len(list(store.list_files("acme"))) == 2
    assert read(store.open("acme", "2013/a.csv")) == read(store.open("acme", "b.csv.gz")) == text
    with pytest.raises(FileGone, match="is gone from memory://"):
        store.open("acme", "none.csv")
    with pytest.raises(UserError, match="cannot name a file"):
        store.open("acme", "../bolt/a.csv")


def test_a_url_of_no_known_kind_is_refused(tmp_path):
    pytest.importorskip("obstore")
    with pytest.raises(UserError, match="names no object store"):
        open_store("gopher://x", tmp_path)
