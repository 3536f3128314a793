"""Paths with a date, a time and names in braces: what they match, in which order, what comes late."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connect.file_patterns import PathPattern
from headrace.connect.files import FileSettings, FileSource
from headrace.errors import UserError
from headrace.local.input_files import InputFiles

MANY, LARGE = 1000, 1 << 20


@pytest.fixture
def source(tmp_path, namespace, clock):
    opened = []

    def open_source(path, **own):
        record = InputFiles(namespace, "job", "lines")
        opened.append(FileSource("lines", FileSettings(path, **own), tmp_path, record, clock=clock))
        return opened[-1]

    yield open_source
    for one in opened:
        one.close()


def write(tmp_path, clock, name, text):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        opened.write(text + "\n")
    clock.sleep(1)


def bodies_of(source, offset=0):
    bodies = []
    while (poll := source.poll(0, offset, MANY, LARGE)) is not None:
        bodies += [body.decode() for body in poll.bodies]
        offset = poll.next_offset
    return bodies, offset


@pytest.mark.parametrize(
    ("path", "formats", "name", "time"),
    [
        ("in/{date}/a.csv", (), "in/2026-03-01/a.csv", datetime(2026, 3, 1, tzinfo=UTC)),
        (
            "in/{date}/{time}/a",
            ("YYYY/MM/DD", "HH"),
            "in/2026/03/01/07/a",
            datetime(2026, 3, 1, 7, tzinfo=UTC),
        ),
        (
            "{date}T{time}.json",
            ("YYYYMMDD", "HH-mm"),
            "20260301T07-30.json",
            datetime(2026, 3, 1, 7, 30, tzinfo=UTC),
        ),
        (
            "{Date}/{TIME}",
            ("dd/mm/yyyy", "hhmmss"),
            "01/03/2026/073059",
            datetime(2026, 3, 1, 7, 30, 59, tzinfo=UTC),
        ),
        ("{site}/{date}/*.json", (), "oslo/2026-03-01/x.json", datetime(2026, 3, 1, tzinfo=UTC)),
        ("**/{date}.json", (), "a/b/2026-03-01.json", datetime(2026, 3, 1, tzinfo=UTC)),
        ("[ab]/?/{date}", ("YYYY/MM",), "b/x/2026/03", datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_name_tells_a_time_in_utc(path, formats, name, time):
    assert PathPattern(path, *formats).time_us(name) == int(time.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    "name", ["in/2026-13-01/a", "in/2026-02-30/a", "in/2026-3-1/a", "in/x/2026-03-01/a", "in/x-03-01/a"]
)
def test_what_is_no_date_does_not_match(name):
    assert PathPattern("in/{date}/a").time_us(name) is None


def test_a_date_that_stands_twice_must_be_the_same():
    pattern = PathPattern("{date}/{date}.json")
    assert pattern.time_us("2026-03-01/2026-03-01.json") is not None
    assert pattern.time_us("2026-03-01/2026-03-02.json") is None


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)))
def test_every_time_is_read_as_it_was_written(time):
    pattern = PathPattern("{date}/{time}.csv", "YYYY/DD/MM", "HH_mm_ss")
    expected = (time.replace(microsecond=0) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert pattern.time_us(f"{time:%Y}".zfill(4) + f"{time:/%d/%m/%H_%M_%S}.csv") == expected


def test_files_are_read_in_order_of_their_times_then_names(tmp_path, clock, source):
    for name in ("02-01-2027/a", "03-01-2026/b", "03-01-2026/a", "31-12-2025/z"):
        write(tmp_path, clock, f"in/{name}.jsonl", name)
    write(tmp_path, clock, "in/99-01-2026/a.jsonl", "no date")
    found, _ = bodies_of(source("in/{date}/*.jsonl", date_format="DD-MM-YYYY"))
    assert found == ["31-12-2025/z", "03-01-2026/a", "03-01-2026/b", "02-01-2027/a"]


def test_a_name_in_braces_is_any_folder_but_no_path(tmp_path, clock, source):
    for name in ("oslo/a.jsonl", "bergen/a.jsonl", "oslo/deep/a.jsonl", ".hidden/a.jsonl"):
        write(tmp_path, clock, f"in/{name}", name)
    assert bodies_of(source("in/{site}/a.jsonl"))[0] == ["bergen/a.jsonl", "oslo/a.jsonl"]


def test_a_file_that_comes_late_into_an_earlier_folder_is_the_next_one_for_ever(tmp_path, clock, source):
    path = "in/{date}/{time}/*.jsonl"
    write(tmp_path, clock, "in/2026-03-01/07/a.jsonl", "7a")
    write(tmp_path, clock, "in/2026-03-01/08/a.jsonl", "8a")
    reading = source(path)
    found, offset = bodies_of(reading)
    write(tmp_path, clock, "in/2026-03-01/09/a.jsonl", "9a")
    write(tmp_path, clock, "in/2026-03-01/07/b.jsonl", "7b")
    more, _ = bodies_of(reading, offset)
    assert (found, more) == (["7a", "8a"], ["7b", "9a"])
    assert bodies_of(source(path))[0] == ["7a", "8a", "7b", "9a"]


def test_without_a_date_a_file_that_comes_late_stops_the_job(tmp_path, clock, source):
    write(tmp_path, clock, "in/b/x.jsonl", "b")
    reading = source("in/{site}/x.jsonl")
    _, offset = bodies_of(reading)
    write(tmp_path, clock, "in/a/x.jsonl", "a")
    with pytest.raises(UserError, match="came too late"):
        reading.poll(0, offset, MANY, LARGE)


def test_lines_added_to_a_late_file_are_read_while_it_is_the_last(tmp_path, clock, source):
    path = "in/{date}.jsonl"
    write(tmp_path, clock, "in/2026-03-02.jsonl", "2")
    reading = source(path)
    _, offset = bodies_of(reading)
    write(tmp_path, clock, "in/2026-03-01.jsonl", "1")
    _, offset = bodies_of(reading, offset)
    write(tmp_path, clock, "in/2026-03-01.jsonl", "1 more")
    assert bodies_of(reading, offset)[0] == ["1 more"]


@pytest.mark.parametrize("path", ["in/{time}/a.jsonl", "{time}.csv"])
def test_a_time_without_a_date_is_refused(path):
    with pytest.raises(ValueError, match="of no day"):
        FileSettings(path)


def test_braces_that_are_meant_are_written_as_a_class(tmp_path):
    (tmp_path / "{date}.jsonl").touch()
    assert PathPattern("[{]date}.jsonl").matching(tmp_path) == ["{date}.jsonl"]


def test_a_name_that_is_no_utf_8_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.jsonl")).touch()
    with pytest.raises(UserError, match="not UTF-8"):
        PathPattern("*.jsonl").matching(tmp_path)
