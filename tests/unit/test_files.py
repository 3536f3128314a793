"""Files as an input: every line once, in order, however polls are cut, files grow and processes end."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.clock import ManualClock
from headrace.connect.files import FileSettings, FileSource
from headrace.connect.source import OrderedSource
from headrace.errors import Fatal, UserError
from headrace.events.formats.json import JsonDecoder
from headrace.limits import MAX_EVENT_BYTES, MAX_INPUT_FILE_BYTES
from headrace.local.input_files import InputFiles
from headrace.local.namespace import Namespace

MANY, LARGE = 1000, 1 << 20


class Folder:
    """A folder of files and the sources that read them; each `source` is a new process's."""

    def __init__(self, path, namespace, clock):
        self.path, self.namespace, self.clock = path, namespace, clock

    def write(self, name, text, mode="ab"):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open(mode) as opened:
            opened.write(text)
        self.clock.sleep(1)  # a list of files is out of date by now

    def source(self, path="*.jsonl", limit=lambda _: None):
        record = InputFiles(self.namespace, "job", "lines")
        return FileSource("lines", FileSettings(path), self.path, record, clock=self.clock, limit=limit)


@pytest.fixture
def folder(tmp_path, namespace, clock):
    return Folder(tmp_path / "in", namespace, clock)


def read(source, offset=0, max_events=MANY, max_bytes=LARGE):
    """Return all bodies from an offset on, and where to read on."""
    bodies = []
    while (poll := source.poll(0, offset, max_events, max_bytes)) is not None:
        bodies += list(poll.bodies)
        offset = poll.next_offset
    return bodies, offset


def all_of(source, offset=0):
    """Return all bodies up to the end, the last line included, as a job that runs to the end does."""
    bodies, offset = read(source, offset)
    while offset < source.end(0):
        more, offset = read(source, offset)
        bodies += more
    return bodies, offset


# --- what is read -----------------------------------------------------------------------------------------


def test_a_file_source_is_an_ordered_source_that_ends(folder):
    source = folder.source()
    assert isinstance(source, OrderedSource)
    assert (source.kind, source.place, source.partitions, source.ends) == ("file", "*.jsonl", 1, True)


def test_the_files_that_match_are_one_sequence_in_order_of_their_names(folder):
    folder.write("b.jsonl", b'{"n":3}\n')
    folder.write("a.jsonl", b'{"n":1}\n{"n":2}\n')
    folder.write("c.txt", b'{"n":9}\n')
    assert read(folder.source())[0] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']


def test_one_poll_spans_files_and_its_offsets_tell_file_and_byte(folder):
    folder.write("a.jsonl", b'{"n":1}\n\n{"n":2}\n')
    folder.write("b.jsonl", b'{"n":3}\n')
    poll = folder.source().poll(0, 0, MANY, LARGE)
    assert list(poll.offsets) == [0, 9, MAX_INPUT_FILE_BYTES]
    assert type(poll.offsets[0]) is int
    assert poll.joined == b'{"n":1}\n{"n":2}\n{"n":3}'
    assert poll.arrival_us is None
    assert poll.next_offset == MAX_INPUT_FILE_BYTES + 8


def test_a_poll_takes_no_more_events_than_asked_for(folder):
    folder.write("a.jsonl", b'{"n":1}\n' * 10_000)
    poll = folder.source().poll(0, 0, 7, LARGE)
    assert len(poll.bodies) == 7
    assert poll.next_offset == 7 * 8


def test_a_poll_stays_within_its_bytes_but_for_a_first_line(folder):
    folder.write("a.jsonl", b'{"n":1}\n' * 100 + b'{"long":"' + b"x" * 1000 + b'"}\n')
    source = folder.source()
    assert len(source.poll(0, 0, MANY, 100).joined) <= 100
    assert len(source.poll(0, 800, MANY, 100).bodies[0]) == 1011


def test_files_below_folders_are_matched_by_two_stars(folder):
    folder.write("2026/01/a.jsonl", b'{"n":1}\n')
    folder.write("2026/02/a.jsonl", b'{"n":2}\n')
    assert read(folder.source("**/*.jsonl"))[0] == [b'{"n":1}', b'{"n":2}']


def test_nothing_there_is_nothing_to_read_until_a_file_comes(folder):
    source = folder.source()
    assert source.poll(0, 0, MANY, LARGE) is None
    assert source.end(0) == 0
    folder.write("a.jsonl", b'{"n":1}\n')
    assert read(source)[0] == [b'{"n":1}']


def test_the_end_of_a_single_file_that_is_not_there_is_a_user_error(folder):
    with pytest.raises(UserError, match=r"there is no file .*a\.jsonl\. Check inputs\.lines\.path"):
        folder.source("a.jsonl").end(0)


def test_a_pipe_is_refused_without_waiting_for_it(folder):
    folder.write("b.txt", b"")
    os.mkfifo(folder.path / "a.jsonl")
    with pytest.raises(UserError, match=r"a\.jsonl is no file"):
        folder.source().poll(0, 0, MANY, LARGE)


# --- lines ------------------------------------------------------------------------------------------------


def test_a_line_that_is_being_written_is_not_read_half(folder):
    folder.write("a.jsonl", b'{"n":1}\n{"n"')
    source = folder.source()
    bodies, offset = read(source)
    assert bodies == [b'{"n":1}']
    folder.write("a.jsonl", b":2}\n")
    assert read(source, offset)[0] == [b'{"n":2}']


def test_asking_for_the_end_makes_the_last_line_an_event(folder):
    folder.write("a.jsonl", b'{"n":1}\n{"n":2}')
    source = folder.source()
    assert all_of(source) == ([b'{"n":1}', b'{"n":2}'], 15)


def test_a_last_line_that_still_grows_after_the_end_was_asked_for_is_waited_for(folder):
    folder.write("a.jsonl", b'{"n":1')
    source = folder.source()
    source.end(0)
    folder.write("a.jsonl", b"1")
    assert source.poll(0, 0, MANY, LARGE) is None
    folder.write("a.jsonl", b"}\n")
    assert read(source)[0] == [b'{"n":11}']


def test_a_later_file_makes_the_last_line_an_event(folder):
    folder.write("a.jsonl", b'{"n":1}')
    source = folder.source()
    assert read(source)[0] == []
    folder.write("b.jsonl", b'{"n":2}\n')
    assert read(source)[0] == [b'{"n":1}', b'{"n":2}']


def test_what_comes_behind_a_last_line_that_was_taken_is_a_line_of_its_own_for_ever(folder):
    folder.write("a.jsonl", b'{"n":1}')
    _, offset = all_of(folder.source())
    folder.write("a.jsonl", b'{"n":2}\n{"n":3}')
    source = folder.source()
    assert all_of(source, offset)[0] == [b'{"n":2}', b'{"n":3}']
    folder.write("a.jsonl", b"\n")
    assert read(folder.source())[0] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']


def test_the_end_is_reached_where_only_blank_lines_follow(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    source = folder.source()
    _, offset = read(source)
    folder.write("a.jsonl", b"\n \r\n\t\n")
    folder.write("b.jsonl", b"\n")
    folder.write("c.jsonl", b"")
    assert read(source, offset)[0] == []
    assert source.end(0) <= offset
    folder.write("c.jsonl", b'{"n":2}\n')
    assert read(source, offset)[0] == [b'{"n":2}']


def test_a_byte_order_mark_at_the_beginning_is_no_part_of_an_event(folder):
    folder.write("a.jsonl", b'\xef\xbb\xbf{"n":1}\n')
    folder.write("b.jsonl", b"\xef\xbb\xbf")
    source = folder.source()
    poll = source.poll(0, 0, MANY, LARGE)
    assert (list(poll.bodies), list(poll.offsets)) == ([b'{"n":1}'], [3])
    assert source.end(0) <= poll.next_offset


def test_a_line_too_long_for_an_event_is_cut_and_refused_alone(folder):
    folder.write("a.jsonl", b'{"n":1}\n' + b'{"x":"' + b"x" * (3 * MAX_EVENT_BYTES) + b'"}\r\n{"n":2}\n')
    for max_bytes in (LARGE, 64 * LARGE):
        bodies = read(folder.source(), max_bytes=max_bytes)[0]
        assert [len(body) for body in bodies] == [7, MAX_EVENT_BYTES + 1, 7]
        decoded = JsonDecoder().decode(bodies)
        assert [(reject.origin, reject.reason) for reject in decoded.rejects] == [
            (1, f"larger than {MAX_EVENT_BYTES} bytes")
        ]


def test_a_line_as_long_as_an_event_may_be_is_whole(folder):
    line = b'{"x":"' + b"x" * (MAX_EVENT_BYTES - 8) + b'"}'
    folder.write("a.jsonl", line + b"\r\n")
    assert read(folder.source())[0] == [line]


def test_the_end_of_a_long_unfinished_line_is_looked_for_only_in_what_is_new(folder, monkeypatch):
    folder.write("a.jsonl", b"x" * (2 * MAX_EVENT_BYTES))
    source = folder.source()
    assert source.poll(0, 0, MANY, LARGE) is None
    read_bytes = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: read_bytes.append(args[1]) or pread(*args))
    folder.write("a.jsonl", b"x" * 10)
    assert source.poll(0, 0, MANY, LARGE) is None
    assert sum(read_bytes) < 1000


# --- any lines, any cuts ----------------------------------------------------------------------------------

LINE = st.sampled_from(
    [b'{"n":1}', b'{"text":"two"}', b" [3] ", b"", b"  ", b"\t", b'{"w":"' + b"x" * 99 + b'"}']
)
ENDING = st.sampled_from([b"\n", b"\r\n"])
TEXT = st.builds(
    lambda lines, last: b"".join(line + ending for line, ending in lines) + last,
    st.lists(st.tuples(LINE, ENDING), max_size=12),
    st.one_of(st.just(b""), LINE),
)


def expected_lines(texts):
    """The lines of files, as plain Python sees them."""
    lines = [line.removesuffix(b"\r") for text in texts for line in text.split(b"\n")]
    return [line for line in lines if line.strip()]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), texts=st.lists(TEXT, min_size=1, max_size=4))
def test_any_cutting_of_polls_over_growing_files_gives_their_lines_in_order(data, texts):
    """Files are written piece by piece in order; in between some polls are made, by new processes at will."""
    where = Path(tempfile.mkdtemp())
    clock = ManualClock()
    try:
        with Namespace.open(where / "namespace", clock=clock) as namespace:
            folder = Folder(where / "in", namespace, clock)
            (where / "in").mkdir()
            source = folder.source()
            bodies, offsets, polls, offset = [], [], [], 0
            for number, text in enumerate(texts):
                at = 0
                while at < len(text) or at == 0:
                    size = data.draw(st.integers(1, max(1, len(text))))
                    folder.write(f"{number}.jsonl", text[at : at + size])
                    at += size
                    for _ in range(data.draw(st.integers(0, 2))):
                        if data.draw(st.booleans()):
                            source.close()
                            source = folder.source()
                        max_events, max_bytes = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 200))
                        poll = source.poll(0, offset, max_events, max_bytes)
                        if poll is not None:
                            polls.append((offset, poll))
                            offset = poll.next_offset
            polls_at_end, offset = _polls_to_end(source, offset)
            polls += polls_at_end
            for _, poll in polls:
                assert poll.joined == b"\n".join(poll.bodies)
                assert len(poll.bodies) == len(poll.offsets)
                bodies += list(poll.bodies)
                offsets += list(poll.offsets)
            assert bodies == expected_lines(texts)
            assert offsets == sorted(set(offsets))
            assert source.end(0) <= offset
            # Whatever was read is read again, from any poll's beginning and from any event.
            again = folder.source()
            for begin, poll in polls:
                assert list(again.poll(0, begin, len(poll.bodies), LARGE).bodies) == list(poll.bodies)
            for index, place in enumerate(offsets):
                assert all_of(again, place)[0] == bodies[index:]
            source.close()
            again.close()
    finally:
        shutil.rmtree(where)


def _polls_to_end(source, offset):
    polls = []
    while offset < source.end(0):
        poll = source.poll(0, offset, 3, 50)
        assert poll is not None, "the end is never reached"
        polls.append((offset, poll))
        offset = poll.next_offset
    return polls, offset


# --- what a restart finds ---------------------------------------------------------------------------------


def test_a_restart_goes_on_exactly_where_the_last_process_was(folder):
    for number in range(5):
        folder.write(f"{number}.jsonl", b"".join(b'{"n":%d}\n' % (10 * number + i) for i in range(10)))
    bodies, offset = [], 0
    for _ in itertools.count():
        source = folder.source()
        poll = source.poll(0, offset, 7, LARGE)
        source.close()
        if poll is None:
            break
        bodies += list(poll.bodies)
        offset = poll.next_offset
    assert bodies == [b'{"n":%d}' % number for number in range(50)]


def test_a_file_whose_name_sorts_behind_may_come_at_any_time(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    _, offset = read(folder.source())
    folder.write("c.jsonl", b'{"n":3}\n')
    folder.write("b.jsonl", b'{"n":2}\n')
    assert read(folder.source(), offset)[0] == [b'{"n":2}', b'{"n":3}']


def test_a_file_that_comes_between_those_begun_is_refused_by_name(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    folder.write("c.jsonl", b'{"n":3}\n')
    source = folder.source()
    _, offset = read(source)
    folder.write("b.jsonl", b'{"n":2}\n')
    for reader in (source, folder.source()):
        with pytest.raises(UserError, match=r"b\.jsonl came too late.*c\.jsonl has been begun\. Rename it"):
            reader.poll(0, offset, MANY, LARGE)


def test_a_file_that_became_shorter_is_refused(folder):
    folder.write("a.jsonl", b'{"n":1}\n{"n":2}\n')
    _, offset = read(folder.source())
    os.truncate(folder.path / "a.jsonl", 8)
    with pytest.raises(UserError, match=r"a\.jsonl is shorter than it was: it ends at byte 8, and had 16"):
        folder.source().poll(0, offset, MANY, LARGE)


def test_a_file_that_was_replaced_is_refused(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    source = folder.source()
    _, offset = read(source)
    folder.write("new", b'{"n":7}\n{"n":8}\n')
    (folder.path / "new").rename(folder.path / "a.jsonl")
    for reader in (source, folder.source()):
        with pytest.raises(UserError, match=r"a\.jsonl is another file than the one that was read"):
            reader.poll(0, offset, MANY, LARGE)


def test_a_file_that_is_gone_before_it_was_read_whole_is_a_user_error(folder):
    folder.write("a.jsonl", b'{"n":1}\n{"n":2}\n')
    folder.write("b.jsonl", b'{"n":3}\n')
    poll = folder.source().poll(0, 0, 1, LARGE)
    (folder.path / "a.jsonl").unlink()
    with pytest.raises(UserError, match=r"a\.jsonl is gone, and was read only to byte 8 of 16"):
        folder.source().poll(0, poll.next_offset, MANY, LARGE)


def test_files_that_were_read_whole_may_be_removed(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    folder.write("b.jsonl", b'{"n":2}\n')
    _, offset = read(folder.source())
    for name in ("a.jsonl", "b.jsonl"):
        (folder.path / name).unlink()
    source = folder.source()
    assert source.poll(0, offset, MANY, LARGE) is None
    assert source.end(0) <= offset
    folder.write("c.jsonl", b'{"n":3}\n')
    assert read(source, offset)[0] == [b'{"n":3}']


def test_lines_added_to_a_file_that_was_left_are_refused_not_overlooked(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    folder.write("b.jsonl", b'{"n":2}\n')
    source = folder.source()
    _, offset = read(source)
    folder.write("a.jsonl", b"\n\n")
    assert folder.source().poll(0, offset, MANY, LARGE) is None
    folder.write("a.jsonl", b'{"n":9}\n')
    for reader in (source, folder.source()):
        with pytest.raises(UserError, match=r"10 bytes were added since.*truncate -s 8 .*a\.jsonl"):
            reader.poll(0, offset, MANY, LARGE)
    os.truncate(folder.path / "a.jsonl", 8)
    assert source.poll(0, offset, MANY, LARGE) is None


def test_two_processes_that_go_on_at_once_agree_on_the_order(folder, monkeypatch):
    folder.write("a.jsonl", b'{"n":1}\n')
    slow, quick = folder.source(), folder.source()
    _, offset = read(slow)
    read(quick)
    folder.write("c.jsonl", b'{"n":3}\n')
    held_back = InputFiles.save

    def save(*args):
        monkeypatch.setattr(InputFiles, "save", held_back)
        folder.write("b.jsonl", b'{"n":2}\n')  # the slow one knows of c, and not of b
        assert read(quick, offset)[0] == expected
        return held_back(*args)

    expected = [b'{"n":2}', b'{"n":3}']
    monkeypatch.setattr(InputFiles, "save", save)
    assert slow.poll(0, offset, MANY, LARGE) is None
    assert read(slow, offset)[0] == expected


def test_whoever_starts_at_the_end_does_not_read_the_rest_of_a_line(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    folder.write("b.jsonl", b'{"n":2}\n{"n"')
    now = folder.source().end(0)
    source = folder.source()
    assert source.poll(0, now, MANY, LARGE) is None
    folder.write("b.jsonl", b':3}\n{"n":4}\n')
    assert read(source, now)[0] == [b'{"n":4}']


def test_a_start_from_a_time_begins_with_the_oldest_file_that_is_there(folder):
    for name in ("a", "b"):
        folder.write(f"{name}.jsonl", b'{"n":1}\n')
    source = folder.source()
    read(source)
    assert source.offset_at(0, 0) == source.begin(0) == 0
    (folder.path / "a.jsonl").unlink()
    assert source.offset_at(0, 0) == MAX_INPUT_FILE_BYTES


def test_a_start_from_a_time_begins_behind_files_that_are_all_gone(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    read(folder.source())
    (folder.path / "a.jsonl").unlink()
    folder.write("b.jsonl", b'{"n":2}\n')
    source = folder.source()
    assert read(source, source.offset_at(0, 0))[0] == [b'{"n":2}']


def test_an_offset_in_a_file_that_is_not_on_record_is_fatal(folder):
    folder.write("a.jsonl", b'{"n":1}\n')
    with pytest.raises(Fatal, match="only 0 are on record"):
        folder.source().poll(0, 5 * MAX_INPUT_FILE_BYTES, MANY, LARGE)


def test_of_a_file_that_a_job_writes_only_what_is_committed_is_read(folder):
    folder.write("a.jsonl", b'{"n":1}\n{"n":2}\n')
    committed = {"a.jsonl": 8}
    source = folder.source(limit=committed.get)
    bodies, offset = all_of(source)
    assert bodies == [b'{"n":1}']
    committed["a.jsonl"] = 16
    assert read(source, offset)[0] == [b'{"n":2}']


def test_bodies_are_cut_out_only_when_asked_for(folder):
    folder.write("a.jsonl", b'{"n":1}\n' * 1000)
    poll = folder.source().poll(0, 0, 1000, LARGE)
    assert not isinstance(poll.bodies, list)
    assert poll.bodies[999] == b'{"n":1}'


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_cannot_be_is_refused(path):
    with pytest.raises(ValueError, match="path"):
        FileSettings(path)
