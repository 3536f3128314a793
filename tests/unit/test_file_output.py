"""Files as an output: what a commit published is there once and whole, and nothing else."""

import os
import resource
import subprocess
import sys
import textwrap

import polars as pl
import pytest

from headrace.connect.file_output import FileSink, sweep_line
from headrace.connect.file_places import check_output_path, instance_path
from headrace.connect.sink import Rows, StagedSink
from headrace.errors import Fatal, Transient, UserError
from headrace.events.formats.json import from_rows
from headrace.local.staged import StagedFile, published_bytes, staged_lines


class Output:
    """One output of one job in a folder; each `sink` is a new process's, resumed."""

    def __init__(self, folder, namespace):
        self.folder, self.namespace = folder, namespace
        self.folder.mkdir()

    def sink(self, path="out.jsonl", job="job", line="instance-0", output="rows"):
        sink = FileSink(StagedFile(self.namespace, job, line, output), self.folder, path)
        sink.resume()
        return sink

    def commit(self, sink, payload):
        staged = sink.stage(payload)
        with self.namespace.transaction() as tx:
            sink.publish(tx, staged)

    def text(self, path="out.jsonl"):
        return (self.folder / path).read_bytes()


@pytest.fixture
def output(tmp_path, namespace):
    return Output(tmp_path / "project", namespace)


def test_a_file_sink_is_a_staged_sink(output):
    assert isinstance(output.sink(), StagedSink)


def test_rows_become_json_lines_each_ended_by_a_newline(output):
    sink = output.sink()
    batch = from_rows([{"n": 1, "t": "a\nb"}, {"n": None}])
    prepared = sink.prepare(Rows(batch, pl.Series))
    assert (prepared.rows, prepared.failures) == (2, {})
    output.commit(sink, prepared.payload)
    assert output.text().count(b"\n") == 2
    assert output.text().endswith(b"}\n")
    assert sink.prepare(Rows(batch.filter(pl.Series([False, False])), pl.Series)).payload == b""


def test_commits_append(output):
    sink = output.sink()
    output.commit(sink, b"one\n")
    output.commit(sink, b"two\n")
    output.commit(output.sink(), b"three\n")
    assert output.text() == b"one\ntwo\nthree\n"


def test_a_process_that_was_overtaken_and_wakes_in_the_middle_of_a_write_changes_nothing(output):
    zombie = output.sink()
    output.commit(zombie, b"one\n")
    paused_at = os.dup(zombie._file._handle)
    heir = output.sink()
    output.commit(heir, b"two\n")
    os.pwrite(paused_at, b"ghost\n", 4)
    os.ftruncate(paused_at, 4)
    os.close(paused_at)
    with pytest.raises(UserError, match="moved or removed while it was written"):
        zombie.stage(b"ghost\n")
    output.commit(heir, b"three\n")
    assert output.text() == b"one\ntwo\nthree\n"


def test_folders_of_the_path_are_made_and_so_is_the_file(output):
    output.sink("deep/er/out.jsonl")
    assert output.text("deep/er/out.jsonl") == b""


def test_what_was_staged_and_not_published_is_overwritten(output):
    sink = output.sink()
    output.commit(sink, b"one\n")
    sink.stage(b"a long line that no commit speaks of\n")
    output.commit(sink, b"two\n")
    assert output.text() == b"one\ntwo\n"


def test_a_commit_that_is_undone_publishes_nothing(output):
    sink = output.sink()
    staged = sink.stage(b"one\n")
    with pytest.raises(KeyError), output.namespace.transaction() as tx:
        {}[sink.publish(tx, staged)]
    output.commit(sink, b"two\n")
    assert output.text() == b"two\n"


def test_resume_cuts_off_what_no_commit_published(output):
    sink = output.sink()
    output.commit(sink, b"one\n")
    sink.stage(b"two\n")
    assert output.text() == b"one\ntwo\n"
    output.sink()
    assert output.text() == b"one\n"


def test_what_is_committed_is_on_record_for_who_reads_the_file(output):
    sink = output.sink()
    output.commit(sink, b"one\n")
    sink.stage(b"two\n")
    assert published_bytes(output.namespace, "out.jsonl") == 4
    assert published_bytes(output.namespace, "other.jsonl") is None


def test_the_line_of_an_instance_that_does_not_run_any_more_is_swept_by_another(output):
    sink = output.sink("out-1.jsonl", line="instance-1")
    output.commit(sink, b"one\n")
    sink.stage(b"two\n")
    assert staged_lines(output.namespace, "job") == ["instance-1"]
    sweep_line(output.namespace, output.folder, "job", "instance-1")
    assert output.text("out-1.jsonl") == b"one\n"


# --- files that are not as they were left -----------------------------------------------------------------


def test_a_file_shorter_than_what_was_published_is_fatal(output):
    sink = output.sink()
    output.commit(sink, b"one\ntwo\n")
    os.truncate(output.folder / "out.jsonl", 4)
    for write in (output.sink, lambda: sink.stage(b"three\n")):
        with pytest.raises(UserError, match="has only 4 bytes, and 8 were written and committed: rows"):
            write()


def test_a_file_that_is_gone_is_fatal_and_is_not_made_anew(output):
    output.commit(output.sink(), b"one\n")
    (output.folder / "out.jsonl").unlink()
    with pytest.raises(UserError, match="is gone or empty, and 4 were written and committed"):
        output.sink()
    assert not (output.folder / "out.jsonl").exists()


def test_a_file_that_was_moved_while_it_is_written_is_fatal(output):
    sink = output.sink()
    (output.folder / "out.jsonl").rename(output.folder / "moved.jsonl")
    (output.folder / "out.jsonl").touch()
    with pytest.raises(UserError, match="was moved or removed while it was written"):
        sink.stage(b"one\n")


def test_a_file_that_the_job_did_not_write_is_left_alone(output):
    (output.folder / "out.jsonl").write_text("precious\n")
    with pytest.raises(UserError, match=r"out\.jsonl is there already.*Move it away, or choose another path"):
        output.sink()
    assert output.text() == b"precious\n"


def test_two_outputs_cannot_write_one_file(output):
    output.sink()
    with pytest.raises(UserError, match=r"which output 'rows' of job 'job' \(instance-0\) writes"):
        output.sink("sub/../out.jsonl", job="other")


def test_another_path_begins_another_file_and_leaves_the_first_as_it_was_committed(output):
    sink = output.sink()
    output.commit(sink, b"one\n")
    sink.stage(b"two\n")
    output.commit(output.sink("next.jsonl"), b"three\n")
    assert (output.text(), output.text("next.jsonl")) == (b"one\n", b"three\n")


def test_a_folder_in_the_place_of_the_file_is_a_user_error(output):
    (output.folder / "out.jsonl").mkdir()
    with pytest.raises(UserError, match="is no file"):
        output.sink()


# --- disks that fail --------------------------------------------------------------------------------------


def test_a_full_disk_passes_and_the_same_rows_are_written_when_there_is_space(output):
    """A limit on the size of files refuses a write as a full disk does, after a part of it."""
    sink = output.sink()
    output.commit(sink, b"one\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(Transient, match=r"out\.jsonl may not grow any more.*raise the limit"):
            sink.stage(b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(output.text()) == 10
    output.commit(sink, b"two\n")
    assert output.text() == b"one\ntwo\n"


def test_a_process_killed_by_a_full_disk_leaves_what_was_committed(output, tmp_path):
    program = """
        import resource, sys
        from pathlib import Path
        from headrace.connect.file_output import FileSink
        from headrace.errors import Transient
        from headrace.local.namespace import Namespace
        from headrace.local.staged import StagedFile

        with Namespace.open(Path(sys.argv[1])) as namespace:
            record = StagedFile(namespace, "job", "instance-0", "rows")
            sink = FileSink(record, Path(sys.argv[2]), "out.jsonl")
            sink.resume()
            staged = sink.stage(b"one\\n")
            with namespace.transaction() as tx:
                sink.publish(tx, staged)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            try:
                sink.stage(b"x" * 1000)
            except Transient as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), tmp_path / "other", output.folder],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "may not grow any more" in done.stdout
    assert output.text() == b"one\n" + b"x" * 96


def test_a_failed_sync_is_fatal_and_never_tried_again(output, monkeypatch):
    sink = output.sink()
    synced = []

    def fail(handle):
        synced.append(handle)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("headrace.connect.appended_file._sync", fail)
    with pytest.raises(Fatal, match=r"cannot sync .*Input/output error"):
        sink.stage(b"one\n")
    monkeypatch.undo()
    with pytest.raises(Fatal, match="nothing more is written to it"):
        sink.stage(b"one\n")
    assert len(synced) == 1


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "number", "expected"),
    [
        ("out.jsonl", 0, "out.jsonl"),
        ("out.jsonl", 1, "out-1.jsonl"),
        ("deep/out.tar.gz", 12, "deep/out.tar-12.gz"),
        ("out", 2, "out-2"),
    ],
)
def test_each_further_instance_has_its_number_before_the_suffix(path, number, expected):
    assert instance_path(path, number) == expected


@pytest.mark.parametrize("path", ["out/*.jsonl", "out-?.jsonl", "out/"])
def test_an_output_is_one_file(path):
    with pytest.raises(UserError, match=r"outputs\.rows\.path: expected one file"):
        check_output_path("rows", path)
