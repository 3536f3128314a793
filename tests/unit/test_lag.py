from __future__ import annotations

from pathlib import Path

from headrace.clock import ManualClock
from headrace.connect.files import FileSettings
from headrace.engine.lag import Lag, file_lag, hub_lags, queue_lag, watermarks_us
from headrace.engine.operator import FOREVER_US, NEVER_US
from headrace.local.hub import Hub
from headrace.local.input_files import InputFile
from headrace.local.namespace import Namespace
from headrace.local.progress import Position
from headrace.local.queue import Queue
from headrace.local.standing import LastEpoch


def test_a_hub_tells_what_waits_behind_each_position_and_since_when(tmp_path: Path) -> None:
    clock = ManualClock()
    with Hub.create(tmp_path, "h", partitions=2, clock=clock) as hub:
        began_us = clock.now_us()
        hub.publish_bodies([b"1", b"2", b"3"], partition=0)
        clock.sleep(10)
        hub.publish_bodies([b"4"], partition=0)
        read, unread = hub_lags("i", hub, {("i", 0): Position(3)}, {0: began_us}), hub_lags("i", hub, {}, {})
    assert [(lag.partition, lag.waiting) for lag in read] == [(0, 1), (1, 0)]
    assert [lag.seconds(clock.now_us() + 5_000_000) for lag in read] == [5.0, 0.0]
    assert (unread[0].waiting, unread[0].oldest_us) == (4, began_us)
    assert read[0].watermark_delay_s(clock.now_us()) == 10.0
    assert read[1].watermark_delay_s(clock.now_us()) is None


def test_a_queue_tells_how_many_messages_stand_in_it_and_the_age_of_the_oldest(tmp_path: Path) -> None:
    clock = ManualClock()
    with Namespace.open(tmp_path, clock=clock) as namespace:
        assert queue_lag("i", namespace, "q") == Lag("i", 0, 0, "messages")
        queue = Queue(namespace, "q")
        with namespace.transaction() as tx:
            queue.send(tx, [b"1", b"2"])
        clock.sleep(3)
        queue.claim(limit=1, owner="o")
        lag = queue_lag("i", namespace, "q")
    assert (lag.waiting, lag.unit, lag.seconds(clock.now_us())) == (2, "messages", 3.0)


def test_files_tell_the_bytes_that_wait_in_those_begun_and_those_to_come(tmp_path: Path) -> None:
    for name, size in (("a.jsonl", 10), ("b.jsonl", 20), ("c.jsonl", 30), ("other", 99)):
        (tmp_path / name).write_bytes(b"x" * size)
    record = [InputFile("a.jsonl", b"x", 10), InputFile("b.jsonl", b"x", 20)]
    lag = file_lag("i", tmp_path, FileSettings("*.jsonl"), record, 1, 15, None)
    assert (lag.waiting, lag.unit) == (5 + 30, "bytes")
    assert lag.oldest_us == min((tmp_path / n).stat().st_mtime_ns for n in ("b.jsonl", "c.jsonl")) // 1000


def test_a_compressed_file_counts_whole_until_it_is_begun(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"x" * 10)
    record = [InputFile("a.jsonl.gz", b"x", 10)]
    assert file_lag("i", tmp_path, FileSettings("*.gz"), record, 0, 0, None).waiting == 10
    assert file_lag("i", tmp_path, FileSettings("*.gz"), record, 0, 500, None).waiting == 0


def test_braces_in_a_path_stand_for_any_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01.jsonl").write_bytes(b"12345")
    assert file_lag("i", tmp_path, FileSettings("{date}.jsonl"), [], 0, 0, None).waiting == 5


def test_files_in_folders_of_a_date_and_files_of_a_format_that_no_name_tells_wait_like_others(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "in" / "oslo" / "2026" / "03" / "01"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"12345")
    dated = FileSettings("in/{site}/{date}/*", date_format="YYYY/MM/DD")
    assert file_lag("i", tmp_path, dated, [], 0, 0, None).waiting == 5
    record = [InputFile("in/oslo/2026/03/01/a.csv", b"1", 5)]
    rows = FileSettings("in/**/*.csv", format="parquet")
    assert file_lag("i", tmp_path, rows, record, 0, 1, None).waiting == 0


def test_a_watermark_is_that_of_the_task_that_the_partition_goes_with() -> None:
    epochs = {"i/0": LastEpoch(5, 0), "i/1": LastEpoch(None, 0), "state/1": LastEpoch(7, 0)}
    assert watermarks_us(epochs, "i", 3) == {0: 5, 1: 7, 2: None}
    assert watermarks_us({"state": LastEpoch(9, 0)}, "i", 2) == {0: 9, 1: 9}


def test_for_ever_and_never_are_no_watermarks() -> None:
    epochs = {"i/0": LastEpoch(FOREVER_US, 0), "i/1": LastEpoch(NEVER_US, 0)}
    assert watermarks_us(epochs, "i", 2) == {0: None, 1: None}
