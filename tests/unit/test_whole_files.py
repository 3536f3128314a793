"""Files that appear whole: when they are closed, what they are called, and where each row is."""

import gzip
import json
import os
import resource
from datetime import datetime

import polars as pl
import pytest
import zstandard

from headrace.connect.file_output import sweep_line
from headrace.connect.file_output_settings import FileOutputSettings, open_file_sink
from headrace.connect.sink import Rows, StagedSink
from headrace.errors import Fatal, Transient, UserError
from headrace.events.batch import TIME, Batch
from headrace.events.formats.json import from_rows
from headrace.local.parts import Part, PartRecord
from headrace.local.staged import staged_lines


class Output:
    """One output of one job in a folder; each `sink` is a new process's, resumed."""

    def __init__(self, folder, namespace):
        self.folder, self.namespace = folder, namespace
        self.folder.mkdir(exist_ok=True)

    def sink(self, path="out.jsonl", *, columns=None, job="job", output="rows", instance=0, **settings):
        opened = open_file_sink(
            self.namespace,
            self.folder,
            FileOutputSettings(path, **settings),
            columns,
            job=job,
            output=output,
            instance=instance,
            line=f"instance-{instance}",
        )
        opened.resume()
        return opened

    def publish(self, sink, staged):
        with self.namespace.transaction() as tx:
            sink.publish(tx, staged)

    def write(self, sink, rows, at="2026-03-01T10:00:00"):
        """Commit rows, and what comes of them, as the job does."""
        prepared = sink.prepare(Rows(batch_of(rows, at), pl.Series))
        assert not prepared.failures
        self.publish(sink, sink.stage(prepared.payload))
        self.settle(sink)

    def settle(self, sink, *, ending=False):
        while (settled := sink.settle(ending=ending)) is not None:
            self.publish(sink, settled)

    def files(self):
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [str(path.relative_to(self.folder)) for path in paths]

    def rows(self, path):
        return [json.loads(line) for line in (self.folder / path).read_text().splitlines()]

    def parts(self, line="instance-0"):
        return PartRecord(self.namespace, "job", line, "rows").read()


def batch_of(rows, at="2026-03-01T10:00:00"):
    batch = from_rows(rows)
    times = pl.Series(TIME, [datetime.fromisoformat(at)], pl.Datetime("us")).new_from_index(0, batch.height)
    return Batch(batch.frame.with_columns(times), batch.columns)


def numbers(first, count):
    return [{"n": n} for n in range(first, first + count)]


@pytest.fixture
def output(tmp_path, namespace):
    return Output(tmp_path / "project", namespace)


def test_a_sink_of_whole_files_is_a_staged_sink(output):
    assert isinstance(output.sink(max_rows=3), StagedSink)


# --- when files are closed --------------------------------------------------------------------------------


def test_a_file_appears_once_it_has_max_rows_and_no_file_has_more(output):
    sink = output.sink(max_rows=3)
    output.write(sink, numbers(0, 2))
    assert output.files() == []
    output.write(sink, numbers(2, 6))
    assert output.files() == ["out-00000001.jsonl", "out-00000002.jsonl"]
    assert output.rows("out-00000001.jsonl") == numbers(0, 3)
    assert output.rows("out-00000002.jsonl") == numbers(3, 3)
    output.settle(sink, ending=True)
    assert output.rows("out-00000003.jsonl") == numbers(6, 2)
    assert output.parts() == []
    assert list(PartRecord(output.namespace, "job", "instance-0", "rows").folder.iterdir()) == []


def test_a_file_is_closed_after_max_seconds_of_the_clock_though_no_rows_come(output, clock):
    sink = output.sink(max_seconds=10)
    output.write(sink, numbers(0, 1))
    clock.sleep(9)
    output.write(sink, numbers(1, 1))
    assert output.files() == []
    clock.sleep(1)
    output.settle(sink)
    assert output.rows("out-00000001.jsonl") == numbers(0, 2)
    clock.sleep(100)
    output.settle(sink)
    assert output.files() == ["out-00000001.jsonl"]


def test_the_time_of_an_open_file_goes_on_while_nobody_runs(output, clock):
    output.write(output.sink(max_seconds=10), numbers(0, 1))
    clock.sleep(10)
    output.settle(output.sink(max_seconds=10))
    assert output.rows("out-00000001.jsonl") == numbers(0, 1)


def test_a_file_is_closed_once_it_has_max_megabytes(output):
    sink = output.sink(max_megabytes=0.001)
    output.write(sink, [{"t": "x" * 900}])
    assert output.files() == []
    output.write(sink, [{"t": "x" * 900}])
    assert output.files() == ["out-00000001.jsonl"]


def test_the_end_of_a_job_closes_all_and_without_rows_there_is_no_file(output):
    sink = output.sink(max_rows=5)
    output.settle(sink, ending=True)
    assert output.files() == []
    output.write(sink, numbers(0, 2))
    output.settle(sink, ending=True)
    assert output.files() == ["out-00000001.jsonl"]


def test_other_settings_close_what_is_open_and_begin_anew(output):
    output.write(output.sink("out.jsonl", max_rows=5), numbers(0, 2))
    output.write(sink := output.sink("out.csv", max_rows=5, columns=("n",)), numbers(2, 2))
    assert output.rows("out-00000001.jsonl") == numbers(0, 2)
    output.settle(sink, ending=True)
    assert (output.folder / "out-00000002.csv").read_text() == "n\n2\n3\n"


# --- formats ----------------------------------------------------------------------------------------------


def test_a_csv_file_has_a_header_and_each_file_its_own(output):
    sink = output.sink("out.csv", columns=("n", "t"), max_rows=2)
    output.write(sink, [{"n": 1, "t": "a,b"}, {"n": 2, "t": None}, {"n": 3, "t": ""}])
    output.settle(sink, ending=True)
    assert (output.folder / "out-00000001.csv").read_text() == 'n,t\n1,"a,b"\n2,\n'
    assert (output.folder / "out-00000002.csv").read_text() == 'n,t\n3,""\n'


def test_a_csv_file_that_is_appended_to_has_its_header_once(output):
    for number in range(3):
        sink = output.sink("out.csv", columns=("n",))
        output.write(sink, numbers(number, 1))
    assert (output.folder / "out.csv").read_text() == "n\n0\n1\n2\n"


@pytest.mark.parametrize("rules", [{}, {"max_rows": 10}])
def test_the_first_rows_give_a_csv_file_its_columns_where_the_query_does_not(output, rules):
    output.write(output.sink("out.csv", **rules), [{"n": 1, "t": "a"}])
    sink = output.sink("out.csv", **rules)
    prepared = sink.prepare(Rows(batch_of([{"n": 2}, {"n": 3, "new": 1}, {"n": 4, "new": None}]), pl.Series))
    assert prepared.failures == {1: "column 'new' is none of those that the file began with: n, t"}
    output.write(sink, [{"n": 2}])
    output.settle(sink, ending=True)
    path = "out-00000001.csv" if rules else "out.csv"
    assert (output.folder / path).read_text() == "n,t\n1,a\n2,\n"


def test_a_csv_file_is_not_appended_to_with_other_columns_or_in_another_format(output):
    output.write(output.sink("out.csv", columns=("n",)), numbers(0, 1))
    with pytest.raises(UserError, match="begun with the columns n, and the query gives n, t: choose another"):
        output.sink("out.csv", columns=("n", "t"))
    with pytest.raises(UserError, match="was begun as CSV: another format needs another path"):
        output.sink("out.csv", format="json")


def test_other_columns_of_a_query_begin_another_csv_file_where_files_are_closed(output):
    output.write(output.sink("out.csv", columns=("n",), max_rows=9), numbers(0, 1))
    sink = output.sink("out.csv", columns=("m", "n"), max_rows=9)
    output.write(sink, numbers(1, 1))
    output.settle(sink, ending=True)
    assert (output.folder / "out-00000001.csv").read_text() == "n\n0\n"
    assert (output.folder / "out-00000002.csv").read_text() == "m,n\n,1\n"


def test_compressed_files_are_the_same_whenever_they_are_made(output, clock):
    contents = []
    for path in ("a.jsonl.gz", "b.jsonl.gz", "a.jsonl.zst", "b.jsonl.zst"):
        clock.sleep(100)
        sink = output.sink(path, output=path)
        output.write(sink, numbers(0, 3))
        output.write(sink, numbers(3, 3))
        output.settle(sink, ending=True)
        stem, _, suffix = path.partition(".")
        contents.append((output.folder / f"{stem}-00000001.{suffix}").read_bytes())
    assert contents[0] == contents[1]
    assert contents[2] == contents[3]
    expected = b"".join(b'{"n":%d}\n' % n for n in range(6))
    assert gzip.decompress(contents[0]) == expected
    assert zstandard.ZstdDecompressor().stream_reader(contents[2]).read() == expected


# --- places -----------------------------------------------------------------------------------------------


def test_rows_go_to_the_folder_of_their_value_and_values_never_lead_elsewhere(output):
    sink = output.sink("{kind}/rows.jsonl")
    kinds = ["a", "../../up", "A", "", None, "con", "é", 7, 1.5, True, "."]
    output.write(sink, [{"kind": kind, "n": n} for n, kind in enumerate(kinds)] + [{"n": 99}])
    output.settle(sink, ending=True)
    folders = {path.split("/")[0]: path for path in output.files()}
    assert {name: [row["n"] for row in output.rows(path)] for name, path in folders.items()} == {
        "a": [0],
        "~2e~2e~2f~2e~2e~2fup": [1],
        "~41": [2],
        "~empty": [3],
        "~null": [4, 99],
        "~63on": [5],
        "~c3~a9": [6],
        "7": [7],
        "1~2e5": [8],
        "true": [9],
        "~2e": [10],
    }


def test_date_and_time_are_those_of_the_row(output):
    sink = output.sink("{date}/{Time}/rows.jsonl")
    output.write(sink, numbers(0, 1), "2026-03-01T23:59:59.9")
    output.write(sink, numbers(1, 1), "0001-01-01T00:00:00")
    output.settle(sink, ending=True)
    assert output.files() == ["0001-01-01/00/rows-00000002.jsonl", "2026-03-01/23/rows-00000001.jsonl"]


def test_a_record_or_a_text_that_is_too_long_with_others_names_no_file(output):
    sink = output.sink("{a}{b}/rows.jsonl")
    rows = [{"a": 1, "b": 2}, {"a": {"x": 1}, "b": 2}]
    assert sink.prepare(Rows(batch_of(rows), pl.Series)).failures == {
        1: "column 'a' holds a record, which names no file"
    }
    rows = [{"a": "x" * 150, "b": "y" * 100}, {"a": "x", "b": "y"}]
    assert list(sink.prepare(Rows(batch_of(rows), pl.Series)).failures) == [0]


def test_no_more_files_are_open_than_are_allowed_and_the_one_longest_without_rows_is_closed(
    output, monkeypatch, clock
):
    monkeypatch.setattr("headrace.connect.whole_files.MAX_OPEN_OUTPUT_FILES", 2)
    sink = output.sink("{n}/rows.jsonl")
    for number in (0, 1, 0, 2):
        clock.sleep(1)
        output.write(sink, numbers(number, 1))
    assert output.files() == ["1/rows-00000002.jsonl"]
    output.write(sink, numbers(3, 5))
    assert len(output.parts()) == 2
    assert len(sink._open) <= 4
    output.settle(sink, ending=True)
    assert sum(len(output.rows(path)) for path in output.files()) == 9


def test_rows_of_a_batch_that_go_to_too_many_files_stop_the_job(output, monkeypatch):
    monkeypatch.setattr("headrace.connect.whole_files.MAX_OUTPUT_FILES_OF_BATCH", 3)
    with pytest.raises(UserError, match=r"the rows of one batch go to 4 files, more than 3\. Choose columns"):
        output.sink("{n}/rows.jsonl").prepare(Rows(batch_of(numbers(0, 4)), pl.Series))


def test_each_instance_has_files_of_its_own(output):
    for instance in (0, 1):
        for path in ("out.jsonl.gz", "by-{instance}/out.jsonl"):
            sink = output.sink(path, max_rows=1, instance=instance, output=path)
            output.write(sink, numbers(0, 1))
    assert output.files() == [
        "by-0/out-00000001.jsonl",
        "by-1/out-00000001.jsonl",
        "out-00000001.jsonl.gz",
        "out-1-00000001.jsonl.gz",
    ]


# --- commits that do not come -----------------------------------------------------------------------------


def test_what_no_commit_published_is_removed_and_written_again_under_the_same_number(output):
    sink = output.sink(max_rows=2)
    sink.stage(sink.prepare(Rows(batch_of(numbers(0, 5)), pl.Series)).payload)
    folder = PartRecord(output.namespace, "job", "instance-0", "rows").folder
    assert len(list(folder.iterdir())) == 3
    sink = output.sink(max_rows=2)
    assert list(folder.iterdir()) == []
    output.write(sink, numbers(0, 3))
    assert output.files() == ["out-00000001.jsonl"]


def test_rows_that_were_staged_and_not_published_are_overwritten(output):
    sink = output.sink(max_rows=4)
    output.write(sink, numbers(0, 2))
    sink.stage(sink.prepare(Rows(batch_of(numbers(70, 9)), pl.Series)).payload)
    output.write(sink, numbers(2, 3))
    assert output.rows("out-00000001.jsonl") == numbers(0, 4)
    output.settle(sink, ending=True)
    assert output.rows("out-00000002.jsonl") == numbers(4, 1)


def test_a_file_that_was_made_and_not_put_in_its_place_is_made_again(output):
    sink = output.sink(max_rows=2)
    output.publish(sink, sink.stage(sink.prepare(Rows(batch_of(numbers(0, 2)), pl.Series)).payload))
    assert sink.settle() is not None
    assert [path.startswith(".out-00000001.jsonl.") for path in output.files()] == [True]
    output.settle(output.sink(max_rows=2))
    assert output.files() == ["out-00000001.jsonl"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_file_in_its_place_is_taken_for_what_it_is_when_its_commit_did_not_come(output, taken):
    sink = output.sink(max_rows=2)
    output.publish(sink, sink.stage(sink.prepare(Rows(batch_of(numbers(0, 2)), pl.Series)).payload))
    with pytest.raises(KeyError), output.namespace.transaction() as tx:
        {}[sink.publish(tx, sink.settle())]
    if taken:
        (output.folder / "out-00000001.jsonl").unlink()
    output.settle(output.sink(max_rows=2))
    assert output.files() == ([] if taken else ["out-00000001.jsonl"])
    assert output.parts() == []


def test_a_restart_goes_on_with_the_open_file(output):
    output.write(output.sink(max_rows=3), numbers(0, 2))
    output.write(output.sink(max_rows=3), numbers(2, 1))
    assert output.rows("out-00000001.jsonl") == numbers(0, 3)


def test_who_was_overtaken_neither_writes_nor_disturbs_its_heir(output):
    zombie = output.sink(max_rows=9)
    output.write(zombie, numbers(0, 1))
    heir = output.sink(max_rows=9)
    output.write(heir, numbers(1, 1))
    with pytest.raises(Fatal, match="is written by another process") as raised:
        zombie._held(Part(7, "", "", "of another", "", 0, 0, 0, 0, closed=False))
    assert "Nothing was stored twice" in str(raised.value)
    with pytest.raises(UserError, match="was moved or removed while it was written"):
        zombie.stage(zombie.prepare(Rows(batch_of(numbers(70, 1)), pl.Series)).payload)
    output.settle(heir, ending=True)
    assert output.rows("out-00000001.jsonl") == numbers(0, 2)


def test_a_line_that_nobody_runs_is_made_whole_except_what_is_open_and_goes_on(output):
    for name in ("rows", "others"):
        sink = output.sink(f"{name}.jsonl", max_rows=2, output=name, instance=1)
        output.write(sink, numbers(0, 1))
        sink.close()
    assert staged_lines(output.namespace, "job") == ["instance-1"]
    sweep_line(output.namespace, output.folder, "job", "instance-1", kept={"others"})
    assert output.files() == ["rows-1-00000001.jsonl"]
    sweep_line(output.namespace, output.folder, "job", "instance-1")
    assert output.files() == ["others-1-00000001.jsonl", "rows-1-00000001.jsonl"]


# --- files that are in the way ----------------------------------------------------------------------------


def test_a_file_that_the_job_did_not_write_is_left_alone(output):
    (output.folder / "out-00000001.jsonl").write_text("precious\n")
    sink = output.sink(max_rows=2)
    with pytest.raises(UserError, match=r"out-00000001\.jsonl is there already, .* Move it away"):
        output.write(sink, numbers(0, 1))
    assert (output.folder / "out-00000001.jsonl").read_text() == "precious\n"


def test_a_file_that_came_meanwhile_is_left_alone_and_the_rows_are_kept(output):
    sink = output.sink(max_rows=2)
    output.write(sink, numbers(0, 1))
    (output.folder / "out-00000001.jsonl").write_text("precious\n")
    with pytest.raises(UserError, match="came while output 'rows' of job 'job' collected rows"):
        output.write(sink, numbers(1, 1))
    assert output.files() == ["out-00000001.jsonl"]
    (output.folder / "out-00000001.jsonl").unlink()
    output.settle(output.sink(max_rows=2))
    assert output.rows("out-00000001.jsonl") == numbers(0, 2)


def test_two_outputs_cannot_write_the_same_files(output):
    output.sink(max_rows=2)
    with pytest.raises(UserError, match=r"which output 'rows' of job 'job' \(instance-0\) writes"):
        output.sink("sub/../out.jsonl", max_rows=2, job="other")


def test_rows_that_wait_and_are_gone_stop_the_job(output):
    output.write(output.sink(max_rows=2), numbers(0, 1))
    os.truncate(next(PartRecord(output.namespace, "job", "instance-0", "rows").folder.iterdir()), 3)
    with pytest.raises(UserError, match="has only 3 bytes, and 8 were written and committed: rows are lost"):
        output.sink(max_rows=2)


def test_a_full_disk_passes_and_nothing_is_lost_when_a_file_is_collected_or_made(output):
    """A limit on the size of files refuses a write as a full disk does."""
    sink = output.sink("out.jsonl", max_rows=3)
    output.write(sink, numbers(0, 2))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(Transient, match="may not grow any more"):
            sink.stage(sink.prepare(Rows(batch_of(numbers(2, 9)), pl.Series)).payload)
        sink.close()
        sink = output.sink("out.jsonl", max_rows=2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        with pytest.raises(Transient, match=r"out-00000001\.jsonl may not grow any more"):
            sink._files.make(output.parts())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert output.files() == []
    output.write(output.sink("out.jsonl", max_rows=3), numbers(2, 1))
    assert output.rows("out-00000001.jsonl") == numbers(0, 3)


def test_a_folder_that_cannot_be_made_or_written_is_told_at_the_start(output, monkeypatch):
    (output.folder / "taken").write_text("")
    with pytest.raises(UserError, match=r"taken.*Check that the folder is yours"):
        output.sink("taken/{kind}/out.jsonl")
    monkeypatch.setattr("headrace.connect.whole_files.os.access", lambda *_: False)
    with pytest.raises(UserError, match=r"Permission denied\. Check that the folder is yours"):
        output.sink("closed/{kind}/out.jsonl")


# --- files that need all rows at once ---------------------------------------------------------------------

TYPED = [
    {"n": 1, "f": 1.5, "t": "é", "b": True, "at": "2026-01-01", "r": {"x": [1]}, "none": None},
    {"n": None, "f": None, "t": None, "b": None, "at": None, "r": None, "none": None},
]


@pytest.mark.parametrize("path", ["out.parquet", "out.avro"])
def test_rows_of_several_commits_are_one_file_with_their_types(output, path):
    if path.endswith("avro"):
        pytest.importorskip("fastavro")
    sink = output.sink(path)
    output.write(sink, TYPED)
    output.write(output.sink(path), [{"n": 7, "new": 1.25}])
    sink.close()
    sink = output.sink(path)
    assert output.files() == []
    output.settle(sink, ending=True)
    whole = output.folder / f"out-00000001{path[3:]}"
    read = pl.read_parquet(whole) if path.endswith("parquet") else pl.read_avro(whole)
    assert read["n"].to_list() == [1, None, 7]
    assert read["new"].to_list() == [None, None, 1.25]
    assert read["r"].to_list() == ['{"x":[1]}', None, None]
    assert read["t"].to_list() == ["é", None, None]
    assert read.schema["n"] == pl.Int64


@pytest.mark.parametrize("path", ["out.parquet", "out.avro"])
def test_a_file_that_is_made_again_is_the_same(output, path):
    if path.endswith("avro"):
        pytest.importorskip("fastavro")
    sink = output.sink(path, max_rows=2)
    output.publish(sink, sink.stage(sink.prepare(Rows(batch_of(TYPED), pl.Series)).payload))
    made = [output.sink(path, max_rows=2).settle().made[0].temporary.read_bytes() for _ in range(2)]
    assert made[0] == made[1]


def test_numbers_that_have_no_type_in_common_are_text_in_a_parquet_file(output):
    sink = output.sink("out.parquet")
    output.write(sink, [{"n": 2**53 + 1, "t": "a"}, {"n": 2, "t": None}])
    output.write(sink, [{"n": 1.5}])
    output.settle(sink, ending=True)
    read = pl.read_parquet(output.folder / "out-00000001.parquet")
    assert read["n"].to_list() == ["9007199254740993", "2", "1.5"]
    assert read["t"].to_list() == ["a", None, None]


def test_the_columns_of_the_query_are_in_each_file(output):
    sink = output.sink("out.parquet", columns=("b", "a"), max_rows=1)
    output.write(sink, [{"a": 1}, {"b": 2}])
    for number in (1, 2):
        assert pl.read_parquet(output.folder / f"out-0000000{number}.parquet").columns == ["b", "a"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": None}, "path is missing"),
        ({"path": "a.parquet.gz"}, "parquet files are compressed inside"),
        ({"path": "a.avro", "compression": "zstd"}, "expected none or gzip for Avro"),
        ({"path": "a.csv", "delimiter": "xx"}, "delimiter: expected one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FileOutputSettings(**settings)
