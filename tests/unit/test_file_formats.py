"""CSV, compressed files, Avro and Parquet as an input: every record once, however polls are cut."""

import csv
import gzip
import io
import os

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connect.file_csv import CsvFile
from headrace.connect.files import FileSettings, FileSource
from headrace.errors import DataError, UserError
from headrace.events.formats.decoders import decoder_of
from headrace.limits import MAX_CSV_HEADER_BYTES, MAX_EVENT_BYTES, MAX_INPUT_FILE_BYTES
from headrace.local.input_files import InputFiles

MANY, LARGE = 1000, 1 << 20


class Folder:
    """A folder of files and the sources that read them; each `source` is a new process's."""

    def __init__(self, path, namespace, clock):
        self.path, self.namespace, self.clock = path, namespace, clock
        self.sources = []

    def write(self, name, text, mode="wb"):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open(mode) as opened:
            opened.write(text)
        self.clock.sleep(1)  # a list of files is out of date by now

    def source(self, path="*", **own):
        record = InputFiles(self.namespace, "job", "lines")
        source = FileSource("lines", FileSettings(path, **own), self.path, record, clock=self.clock)
        self.sources.append(source)
        return source


@pytest.fixture
def folder(tmp_path, namespace, clock):
    folder = Folder(tmp_path / "in", namespace, clock)
    yield folder
    for source in folder.sources:
        source.close()


def polls_of(source, offset=0, max_events=MANY, max_bytes=LARGE):
    polls = []
    while (poll := source.poll(0, offset, max_events, max_bytes)) is not None:
        polls.append(poll)
        offset = poll.next_offset
    return polls


def values_of(polls, *names):
    """The values of some columns, row by row, found by the logical names of a batch."""
    found = []
    for poll in polls:
        decoded = poll.decoded
        if decoded is None:
            decoded = decoder_of(poll.format, poll.header, poll.delimiter).decode(poll.bodies, poll.joined)
        columns = {column.name: column for column in decoded.batch.columns}
        series = [
            decoded.batch.frame[columns[name].physical(columns[name].planes[0])].to_list() for name in names
        ]
        found += list(zip(*series, strict=True))
    return found


# --- CSV --------------------------------------------------------------------------------------------------


def test_a_csv_file_gives_its_records_under_its_header(folder):
    folder.write("a.csv", b'id,name\r\n1,anna\r\n2,"b,\nc"\r\n')
    [poll] = polls_of(folder.source())
    assert (poll.format, poll.header, poll.delimiter) == ("csv", b"id,name", ",")
    assert list(poll.bodies) == [b"1,anna", b'2,"b,\nc"']
    assert poll.joined is None
    assert list(poll.offsets) == [9, 17]


def test_records_without_newlines_are_also_given_together(folder):
    folder.write("a.csv", b'id,name\n1,"anna"\n2,bert\n')
    [poll] = polls_of(folder.source())
    assert poll.joined == b'1,"anna"\n2,bert'


def test_a_poll_ends_where_the_header_changes(folder):
    folder.write("a.csv", b"id\n1\n")
    folder.write("b.csv", b"id\n2\n")
    folder.write("c.csv", b"name,id\nanna,3\n")
    folder.write("d.jsonl", b'{"id":4}\n')
    folder.write("e.tsv", b"id\tname\n5\tx\n")
    polls = polls_of(folder.source())
    assert [(poll.format, poll.header, list(poll.bodies)) for poll in polls] == [
        ("csv", b"id", [b"1", b"2"]),
        ("csv", b"name,id", [b"anna,3"]),
        ("json", b"", [b'{"id":4}']),
        ("csv", b"id\tname", [b"5\tx"]),
    ]
    assert polls[-1].delimiter == "\t"


def test_any_record_is_read_again_from_its_offset_with_its_header(folder):
    folder.write("a.csv", b'id,name\n1,"a\nb"\n2,c\n3,"d"""\n')
    [poll] = polls_of(folder.source())
    for index, offset in enumerate(poll.offsets):
        [again] = polls_of(folder.source(), offset)
        assert (again.header, list(again.bodies)) == (b"id,name", list(poll.bodies)[index:])


def test_a_record_that_is_being_written_is_not_read_half(folder):
    folder.write("a.csv", b'id,name\n1,"a\n')
    source = folder.source()
    assert source.poll(0, 0, MANY, LARGE) is None
    folder.write("a.csv", b'b"\n2,', "ab")
    [poll] = polls_of(source)
    assert list(poll.bodies) == [b'1,"a\nb"']
    folder.write("a.csv", b"c\n", "ab")
    assert [list(poll.bodies) for poll in polls_of(source, poll.next_offset)] == [[b"2,c"]]


def test_half_a_header_is_waited_for(folder):
    folder.write("a.csv", b"id,na")
    source = folder.source()
    assert source.poll(0, 0, MANY, LARGE) is None
    folder.write("a.csv", b"me\n1,x\n", "ab")
    assert polls_of(source)[0].header == b"id,name"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"id,id\n1,2\n", "names column 'id' twice"),
        (b"id,\n1,2\n", "column 2 of the CSV has no name"),
        (b"\xff\xfei\x00d\x00\n\x00", "not UTF-8"),
        (b"id,x\r1,2\r", "end with a return and no newline"),
        (b"id,x\r1,2\n", "end with a return and no newline"),
    ],
)
def test_a_header_that_is_none_is_told_with_the_name_of_its_file(folder, text, reason):
    folder.write("a.csv", b"id,x\n1,2\n")
    folder.write("b.csv", text)
    with pytest.raises(DataError, match=rf"b\.csv: .*{reason}"):
        folder.source().end(0)


def test_a_file_with_nothing_but_a_header_or_nothing_at_all_is_passed_over(folder):
    folder.write("a.csv", b"id\n")
    folder.write("b.csv", b"")
    folder.write("c.csv", b"id")
    source = folder.source()
    assert polls_of(source) == []
    assert source.end(0) == 0
    folder.write("d.csv", b"id\n4\n")
    assert [list(poll.bodies) for poll in polls_of(source)] == [[b"4"]]


def test_the_last_record_may_stand_without_a_newline_at_the_end(folder):
    folder.write("a.csv", b"id\n1\n2")
    source = folder.source()
    [poll] = polls_of(source)
    end = source.end(0)
    assert poll.next_offset < end
    [last] = polls_of(source, poll.next_offset)
    assert list(last.bodies) == [b"2"]
    assert last.next_offset >= end


def test_a_quote_that_nobody_closes_costs_one_record_not_the_file(folder):
    rows = b"".join(b"%d,x\n" % number for number in range(20))
    folder.write("a.csv", b'id,name\n0,"open\n' + rows)
    source = folder.source()
    source.end(0)
    [poll] = polls_of(source)
    assert len(poll.bodies) == 21
    decoded = decoder_of("csv", poll.header).decode(poll.bodies, poll.joined)
    assert [reject.origin for reject in decoded.rejects] == [0]
    assert decoded.batch.height == 20


@pytest.mark.parametrize("max_bytes", [LARGE, 64 * LARGE])
def test_an_open_quote_reaches_no_further_than_an_event_however_much_is_read_at_once(folder, max_bytes):
    line = b"7," + b"x" * 1000 + b"\n"
    folder.write("a.csv", b'id,name\n0,"open\n' + line * (MAX_EVENT_BYTES // 900) + b'8,"y"\n')
    polls = polls_of(folder.source(), max_events=1 << 20, max_bytes=max_bytes)
    bodies = [body for poll in polls for body in poll.bodies]
    assert bodies[0] == b'0,"open'
    assert len(bodies) == MAX_EVENT_BYTES // 900 + 2
    assert bodies[-1] == b'8,"y"'


def test_what_begins_with_a_huge_record_is_no_csv(folder):
    folder.write("a.csv", b"x" * (MAX_CSV_HEADER_BYTES + 1) + b"\n1\n")
    with pytest.raises(UserError, match="no header"):
        folder.source().poll(0, 0, MANY, LARGE)


def test_another_header_under_the_same_name_is_another_file(folder):
    folder.write("a.csv", b"id,name\n1,x\n2,y\n")
    poll = folder.source().poll(0, 0, 1, LARGE)
    folder.write("a.csv", b"name,id\nx,1\ny,2\n")
    with pytest.raises(UserError, match="another file"):
        folder.source().poll(0, poll.next_offset, MANY, LARGE)


FIELD = st.text(st.sampled_from('ab",\n é'), max_size=6)
RECORDS = st.lists(st.tuples(FIELD, FIELD), max_size=12)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.integers(1, 4), st.integers(1, 60), st.booleans())
def test_records_are_those_of_another_reader_of_csv_however_they_are_cut(records, events, size_bytes, quoted):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerow(["a", "b"])
    writer.writerows(records)
    content = text.getvalue().encode()
    file = CsvFile(_Text(content))
    at, found = 0, []
    while (piece := file.read(at, len(content), whole=False, max_events=events, max_bytes=size_bytes)).events:
        found += [next(csv.reader(io.StringIO(body.decode(), newline=""))) for body in piece.bodies]
        assert file.begins_line(piece.behind)
        at = piece.behind
    expected = list(csv.reader(io.StringIO(content.decode(), newline="")))[1:]
    assert found == expected


class _Text:
    """Bytes in memory, as those of a file."""

    name, grows = "memory", True

    def __init__(self, content):
        self._content = content

    def size_bytes(self):
        return len(self._content)

    def bytes_at(self, position, size_bytes):
        return self._content[position : position + size_bytes]

    def keep_from(self, position):
        pass


# --- compressed files -------------------------------------------------------------------------------------

LINES = b"".join(b'{"n":%d,"text":"%s"}\n' % (number, b"x" * (number % 50)) for number in range(40_000))


def packed(name, content):
    if name.endswith(".gz"):
        half = len(content) // 2
        return gzip.compress(content[:half]) + gzip.compress(content[half:])
    return zstandard.ZstdCompressor().compress(content)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_compressed_file_gives_the_lines_it_unpacks_to_and_their_offsets(folder, name):
    folder.write(name, packed(name, LINES))
    polls = polls_of(folder.source(), max_events=7000)
    assert b"\n".join(poll.joined for poll in polls) + b"\n" == LINES
    offsets = [offset for poll in polls for offset in poll.offsets]
    assert offsets[1] == LINES.index(b"\n") + 1
    assert polls[-1].next_offset == len(LINES)
    again = folder.source().poll(0, offsets[30_000], 5, LARGE)
    assert list(again.bodies) == LINES.splitlines()[30_000:30_005]


def test_a_compressed_csv_file_has_its_header(folder):
    folder.write("a.csv.gz", gzip.compress(b"id\n1\n2\n"))
    [poll] = polls_of(folder.source())
    assert (poll.header, list(poll.bodies)) == (b"id", [b"1", b"2"])


def test_a_setting_goes_before_the_name(folder):
    folder.write("a.data", gzip.compress(b"id;name\n1;x\n"))
    [poll] = polls_of(folder.source(format="csv", compression="gzip", delimiter=";"))
    assert values_of([poll], "id", "name") == [("1", "x")]


@pytest.mark.parametrize("name", ["b.jsonl.gz", "b.jsonl.zst"])
def test_a_compressed_file_is_waited_for_until_its_end_is_there(folder, name):
    content = packed(name, LINES)
    folder.write("a.jsonl", b'{"n":-1}\n')
    folder.write(name, content[:-20])
    folder.write("c.jsonl", b'{"n":-2}\n')
    source = folder.source()
    [poll] = polls_of(source)
    assert list(poll.bodies) == [b'{"n":-1}']
    assert name in source.waits_for
    folder.write(name, content[-20:], "ab")
    rest = polls_of(source, poll.next_offset, 100_000, 1 << 23)
    assert sum(poll.events for poll in rest) == 40_001
    assert source.waits_for is None


def test_at_the_end_a_compressed_file_that_was_cut_is_an_error_that_names_it(folder):
    folder.write("a.jsonl.gz", gzip.compress(LINES)[:-9])
    with pytest.raises(UserError, match=r"a\.jsonl\.gz ends inside .* finish it, or move it away"):
        folder.source().end(0)


def test_a_file_that_is_no_gzip_stops_the_job(folder):
    folder.write("a.jsonl.gz", b'{"n":1}\n')
    with pytest.raises(DataError, match=r"a\.jsonl\.gz is no sound gzip file"):
        folder.source().poll(0, 0, MANY, LARGE)


def test_a_gzip_bomb_is_refused_before_it_takes_memory(folder):
    zeros = gzip.compress(b"\0" * (64 << 20), 9)
    folder.write("a.jsonl.gz", zeros * 4)
    with pytest.raises(DataError, match="no real data does"):
        folder.source().poll(0, 0, MANY, LARGE)


def test_unpacking_holds_a_part_of_the_file_only(folder):
    line = os.urandom(300_000).hex().encode() + b"\n"
    folder.write("a.jsonl.gz", gzip.compress(line * 200, 1))
    source = folder.source()
    offset, most = 0, 0
    while (poll := source.poll(0, offset, 10, LARGE)) is not None:
        offset = poll.next_offset
        text = source._sequence._open[1]._text
        most = max(most, text._end - text._begin)
    assert offset == len(line) * 200
    assert most < 16 * LARGE


def test_a_compressed_file_that_changes_while_it_is_read_is_refused(folder):
    folder.write("a.jsonl.gz", gzip.compress(LINES))
    source = folder.source()
    poll = source.poll(0, 0, 10, LARGE)
    folder.write("a.jsonl.gz", gzip.compress(LINES), "ab")
    with pytest.raises(UserError, match="another file"):
        polls_of(source, poll.next_offset)


# --- rows with types --------------------------------------------------------------------------------------


def parquet(frame):
    content = io.BytesIO()
    frame.write_parquet(content, row_group_size=1000)
    return content.getvalue()


FRAME = pl.DataFrame({"n": range(2500), "name": [f"é{number}" for number in range(2500)]})


def test_a_parquet_file_gives_rows_with_types_and_row_numbers_as_offsets(folder):
    folder.write("a.parquet", parquet(FRAME))
    folder.write("b.parquet", parquet(FRAME.head(2)))
    polls = polls_of(folder.source(), max_events=900)
    assert [poll.events for poll in polls] == [900, 900, 700, 2]
    assert values_of(polls[:3], "n", "name") == FRAME.rows()
    assert list(polls[3].offsets) == [MAX_INPUT_FILE_BYTES, MAX_INPUT_FILE_BYTES + 1]
    assert polls[0].bodies[3] == '{"n":3,"name":"é3"}'.encode()
    assert all(poll.size_bytes > 0 for poll in polls)


def test_a_row_is_read_again_from_its_number(folder):
    folder.write("a.parquet", parquet(FRAME))
    source = folder.source()
    poll = source.poll(0, 1234, 2, LARGE)
    assert values_of([poll], "n") == [(1234,), (1235,)]
    assert source.end(0) == 2500


def test_bodies_of_rows_are_there_when_their_file_was_left(folder):
    folder.write("a.parquet", parquet(FRAME))
    folder.write("b.parquet", parquet(FRAME.head(1)))
    polls = polls_of(folder.source(), 0, 2500, 1 << 23)
    assert polls[0].bodies[2499] == '{"n":2499,"name":"é2499"}'.encode()


def test_a_parquet_file_is_waited_for_until_its_end_is_there(folder):
    content = parquet(FRAME)
    folder.write("a.parquet", content[:-100])
    source = folder.source()
    assert source.poll(0, 0, MANY, LARGE) is None
    assert "a.parquet" in source.waits_for
    with pytest.raises(UserError, match=r"a\.parquet .* finish it, or move it away"):
        source.end(0)
    folder.write("a.parquet", content)
    assert source.poll(0, 0, MANY, LARGE).events == 1000


def test_a_file_of_rows_may_be_empty(folder):
    folder.write("a.parquet", parquet(FRAME.head(0)))
    folder.write("b.parquet", parquet(FRAME.head(3)))
    source = folder.source()
    assert [poll.events for poll in polls_of(source)] == [3]
    assert source.end(0) == MAX_INPUT_FILE_BYTES + 3


def test_rows_that_are_compressed_as_a_whole_are_refused(folder):
    folder.write("a.parquet.gz", gzip.compress(parquet(FRAME)))
    with pytest.raises(UserError, match="gunzip"):
        folder.source().poll(0, 0, MANY, LARGE)


def test_an_avro_file_gives_rows_with_types_and_waits_for_its_end(folder):
    fastavro = pytest.importorskip("fastavro")
    content = io.BytesIO()
    fields = [{"name": "n", "type": "long"}, {"name": "name", "type": "string"}]
    schema = {"type": "record", "name": "row", "fields": fields}
    fastavro.writer(content, schema, FRAME.to_dicts(), sync_interval=4000)
    whole = content.getvalue()
    folder.write("a.avro", whole[:-30])
    source = folder.source()
    assert source.poll(0, 0, MANY, LARGE) is None
    assert "a.avro" in source.waits_for
    folder.write("a.avro", whole)
    polls = polls_of(source, max_events=700)
    assert values_of(polls, "n", "name") == FRAME.rows()
    assert values_of([folder.source().poll(0, 2000, 1, LARGE)], "n") == [(2000,)]
    assert polls[0].bodies[3] == '{"n":3,"name":"é3"}'.encode()


# --- bad things -------------------------------------------------------------------------------------------


def test_a_sparse_line_of_a_gigabyte_takes_no_gigabyte_and_is_refused_alone(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    with (folder.path / "a.jsonl").open("r+b") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"n":2}\n')
    polls = polls_of(folder.source())
    bodies = [body for poll in polls for body in poll.bodies]
    assert [len(body) for body in bodies] == [7, MAX_EVENT_BYTES + 1, 7]


def test_rubbish_is_lines_that_are_no_events(folder):
    folder.write("a.jsonl", b"\0\xff\xfe\n\x80\x81\n" + b'{"n":1}\n')
    [poll] = polls_of(folder.source())
    decoded = decoder_of("json").decode(poll.bodies, poll.joined)
    assert [reject.origin for reject in decoded.rejects] == [0, 1]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_file_that_is_cut_while_it_is_read_is_refused(folder, name):
    folder.write(name, b"id\n" + b"1\n" * 1000)
    source = folder.source()
    poll = source.poll(0, 0, 500, LARGE)
    os.truncate(folder.path / name, 100)
    folder.clock.sleep(1)
    with pytest.raises(UserError, match=f"{name} is shorter than it was"):
        source.poll(0, poll.next_offset, 500, LARGE)


def test_a_folder_that_may_not_be_looked_into_is_said_not_passed_over(folder, monkeypatch):
    folder.write("one/a.jsonl", b'{"n":1}\n')
    folder.write("two/a.jsonl", b'{"n":2}\n')
    closed = str(folder.path / "two")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != closed and access(path, mode))
    for pattern in ("*/a.jsonl", "**/*.jsonl"):
        with pytest.raises(UserError, match=f"the folder {closed} may not be looked into"):
            folder.source(pattern).poll(0, 0, MANY, LARGE)


def test_a_file_that_vanishes_is_asked_for(folder):
    folder.write("a.parquet", parquet(FRAME))
    poll = folder.source().poll(0, 0, 10, LARGE)
    (folder.path / "a.parquet").unlink()
    with pytest.raises(UserError, match="is gone, and was read only to"):
        folder.source().poll(0, poll.next_offset, 10, LARGE)


@pytest.mark.parametrize("own", [{"delimiter": "ab"}, {"date_format": "MM"}, {"time_format": "x"}])
def test_settings_that_cannot_be_are_refused(own):
    with pytest.raises(ValueError, match=next(iter(own))):
        FileSettings("in/*.csv", **own)
