"""`headrace send`: what it is given arrives byte for byte, and once, wherever it is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import polars as pl
import pytest

from headrace.cli import main
from headrace.limits import MAX_EVENT_BYTES
from headrace.local.browse import newest_messages
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.project.latest import newest_events
from tests.integration.command import Commands


@pytest.fixture
def headrace(tmp_path, capsys):
    return Commands(tmp_path, capsys)


def hub_bodies(headrace, hub="papers"):
    with Hub.open(headrace.folder / ".headrace" / "hubs", hub) as opened:
        return [event.body for event in sorted(newest_events(opened, 1_000_000))]


def queue_bodies(headrace):
    with Namespace.open(headrace.folder / ".headrace") as namespace:
        return [message.body for message in newest_messages(namespace, "work", limit=1_000_000)]


def lines(count, start=0):
    return b"".join(
        b'{"id": %d, "title":  "t\xc3\xa9%d"}\n' % (number, number) for number in range(start, count)
    )


def test_json_lines_arrive_byte_for_byte_without_blank_lines_and_byte_order_mark(headrace):
    events = [b'{"id":  1, "x": 1.10}', b"not json", b'{"a": "\xff"}']
    file = headrace.write("a.jsonl", b"\xef\xbb\xbf" + b"\r\n\n".join(events))
    assert headrace("send", "papers", file).exit_code == 0
    assert hub_bodies(headrace) == events


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"a": 1}, {"b": [2]}]', ['{"a": 1}', '{"b": [2]}']),
        ('[\n  {"a": 1},\n  {"b": "]"}\n]\n', ['{"a": 1}', '{"b": "]"}']),
        ('{"a": 1}\n{"a": 2}\n', ['{"a": 1}', '{"a": 2}']),
        ('{\n "a": 1\n}\n', ['{\n "a": 1\n}']),
        ('{"a": 1}', ['{"a": 1}']),
        ("[1]\n[2]\n", ["[1]", "[2]"]),
        ("[]", []),
        ("", []),
    ],
    ids=[
        "array",
        "array over lines",
        "lines",
        "object over lines",
        "object",
        "lines of arrays",
        "none",
        "empty",
    ],
)
def test_a_json_file_is_an_array_or_lines_or_one_object(headrace, content, expected):
    answer = headrace("send", "papers", headrace.write("a.json", content), "--json")
    assert answer.document["sent"] == len(expected)
    assert [body.decode() for body in hub_bodies(headrace)] == expected


def test_rows_of_csv_are_objects_of_texts_and_empty_cells_are_null(headrace):
    file = headrace.write("a.csv", 'id,title\n007,"quote "" and\nline"\n8,\n')
    assert headrace("send", "papers", file).exit_code == 0
    rows = [json.loads(body) for body in hub_bodies(headrace)]
    assert rows == [{"id": "007", "title": 'quote " and\nline'}, {"id": "8", "title": None}]


def test_rows_of_parquet_keep_their_types(headrace):
    frame = pl.DataFrame(
        {"id": [2**53 + 1], "at": ["2024-01-02T03:04:05.678"], "tags": [["é", None]], "in": [{"x": 1}]}
    ).with_columns(pl.col("at").str.to_datetime())
    frame.write_parquet(headrace.folder / "a.parquet")
    assert headrace("send", "papers", headrace.folder / "a.parquet").exit_code == 0
    [row] = [json.loads(body) for body in hub_bodies(headrace)]
    assert row == {"id": 2**53 + 1, "at": "2024-01-02T03:04:05.678000", "tags": ["é", None], "in": {"x": 1}}


def test_lines_of_text_become_objects_with_the_field_that_is_named(headrace):
    file = headrace.write("a.txt", 'first "line"\n\nsecond é\n')
    assert headrace("send", "papers", file, "--lines", "doc").exit_code == 0
    assert [json.loads(b) for b in hub_bodies(headrace)] == [{"doc": 'first "line"'}, {"doc": "second é"}]


def test_a_file_sent_again_stores_nothing_and_again_stores_it_twice(headrace):
    file = headrace.write("a.jsonl", lines(5))
    assert headrace("send", "papers", file, "--json").document["sent"] == 5
    answer = headrace("send", "papers", file)
    assert "5 events of this sending were there already" in answer.out
    assert "--again" in answer.err
    assert len(hub_bodies(headrace)) == 5
    assert headrace("send", "papers", file, "--again", "--json").document["sent"] == 5
    assert len(hub_bodies(headrace)) == 10


def test_a_limited_sending_is_gone_on_with_behind_its_last_event(headrace):
    file = headrace.write("a.jsonl", lines(2500))
    assert headrace("send", "papers", file, "--limit", 1200, "--json").document["sent"] == 1200
    answer = headrace("send", "papers", file, "--json").document
    assert (answer["sent"], answer["there_already"]) == (1300, 1200)
    assert sorted(hub_bodies(headrace)) == sorted(lines(2500).splitlines())


@pytest.mark.parametrize("target", ["papers", "work"])
def test_a_queue_and_a_hub_know_what_was_sent_to_them(headrace, target):
    file = headrace.write("a.jsonl", lines(1500))
    stored = {"papers": hub_bodies, "work": queue_bodies}[target]
    assert headrace("send", target, file, "--limit", 100).exit_code == 0
    assert headrace("send", target, file).exit_code == 0
    assert headrace("send", target, file).exit_code == 0
    assert sorted(stored(headrace)) == sorted(lines(1500).splitlines())


def test_files_of_equal_content_are_two_files_and_a_changed_file_is_another(headrace):
    first, second = headrace.write("a.jsonl", lines(2)), headrace.write("b.jsonl", lines(2))
    assert headrace("send", "papers", first, second, "--json").document["sent"] == 4
    headrace.write("a.jsonl", lines(3))
    assert headrace("send", "papers", first, "--json").document["sent"] == 3


def test_a_producer_that_is_named_makes_one_stream_of_all_files(headrace):
    first, second = headrace.write("a.jsonl", lines(3)), headrace.write("b.jsonl", lines(6, 3))
    assert headrace("send", "papers", first, "--producer", "night", "--json").document["sent"] == 3
    both = headrace("send", "papers", first, second, "--producer", "night", "--json").document
    assert (both["sent"], both["there_already"]) == (3, 3)


@pytest.mark.parametrize("point", ["hub.publish.before_commit", "hub.publish.after_commit"])
@pytest.mark.parametrize("hits", [1, 2])
def test_a_sender_killed_around_a_commit_and_started_again_loses_and_doubles_nothing(headrace, point, hits):
    file = headrace.write("a.jsonl", lines(2500))
    killed = headrace.process("send", "papers", file, crash_at=f"{point}:{hits}")
    assert killed.returncode == -signal.SIGKILL
    assert headrace("send", "papers", file).exit_code == 0
    assert sorted(hub_bodies(headrace)) == sorted(lines(2500).splitlines())


def test_events_of_one_key_share_a_partition_and_a_wrong_column_is_noticed(headrace):
    file = headrace.write("a.jsonl", b"".join(b'{"ID": %d}\n' % (number % 7) for number in range(70)))
    assert headrace("send", "papers", file, "--key", "id").err == ""
    with Hub.open(headrace.folder / ".headrace" / "hubs", "papers") as hub:
        places = {(json.loads(e.body)["ID"], e.partition) for e in newest_events(hub, 100)}
    assert len(places) == 7
    assert (
        "70 events had no value in 'idx'" in headrace("send", "papers", file, "--again", "--key", "idx").err
    )


def test_a_partition_can_be_chosen_and_one_that_is_not_there_is_refused(headrace):
    file = headrace.write("a.jsonl", lines(3))
    assert headrace("send", "papers", file, "--partition", 2).exit_code == 0
    with Hub.open(headrace.folder / ".headrace" / "hubs", "papers") as hub:
        assert hub.ends() == [0, 0, 3, 0]
    answer = headrace("send", "papers", file, "--again", "--partition", 4)
    assert (answer.exit_code, "0 to 3" in answer.err) == (2, True)


def test_an_event_that_is_too_large_is_told_and_the_others_are_sent(headrace):
    large = b'{"doc": "' + b"x" * MAX_EVENT_BYTES + b'"}\n'
    answer = headrace("send", "papers", headrace.write("a.jsonl", lines(1) + large + lines(2, 1)))
    assert answer.exit_code == 1
    assert "line 2: 8,388,619 bytes" in answer.err
    assert hub_bodies(headrace) == lines(2).splitlines()


def test_standard_input_is_sent_while_its_writer_pauses(headrace, monkeypatch):
    headrace("send", "papers", headrace.write("none.jsonl", ""))  # makes the hub
    read, write = os.pipe()
    answers = []
    sender = threading.Thread(target=lambda: answers.append(headrace("send", "papers", "-", "--json")))
    with os.fdopen(read, "rb") as given:
        monkeypatch.setattr(sys, "stdin", given)
        sender.start()
        os.write(write, lines(2) + b'{"id": ')
        deadline = time.monotonic() + 10
        while len(hub_bodies(headrace)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.write(write, b"2}")
        os.close(write)
        sender.join()
    assert answers[0].document["sent"] == 3
    assert sorted(hub_bodies(headrace))[2] == b'{"id": 2}'


class Feed(BaseHTTPRequestHandler):
    papers = 2

    def do_GET(self):
        items = "".join(
            f"<item><title>T{n}</title><link>http://x.example/{n}</link><guid>g{n}</guid>"
            f"<description>about {n}</description></item>"
            for n in range(self.papers)
        )
        body = f'<rss version="2.0"><channel><title>c</title>{items}</channel></rss>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/rss+xml")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def feed_url():
    pytest.importorskip("feedparser")
    pytest.importorskip("httpx2")
    with HTTPServer(("127.0.0.1", 0), Feed) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/feed"
        server.shutdown()
        serving.join()


def test_a_feed_is_asked_once_and_not_again_too_soon(headrace, feed_url):
    answer = headrace("send", "papers", "--feed", feed_url, "--json")
    assert (answer.exit_code, answer.document["sent"]) == (0, 2)
    again = headrace("send", "papers", "--feed", feed_url)
    assert "asked a short while ago" in again.err
    assert {json.loads(body)["doc"] for body in hub_bodies(headrace)} == {"about 0", "about 1"}


def test_following_a_feed_ends_cleanly_when_it_is_told_to(headrace, feed_url):
    command = [sys.executable, "-m", "headrace.cli", "send", "papers", "--feed", feed_url, "--follow"]
    with subprocess.Popen(
        [*command, "--project", str(headrace.folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert b"2 new papers" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"sent 2 events" in out


def test_a_sample_of_a_feed_needs_no_project_and_remembers_nothing(tmp_path, capsys, feed_url):
    for _ in range(2):
        assert main(["sample", feed_url, "-n", "1", "--project", str(tmp_path / "none")]) == 0
        assert json.loads(capsys.readouterr().out)["doc"] == "about 0"
    assert list(tmp_path.iterdir()) == []


def test_what_was_sent_before_an_error_is_told(headrace):
    good, bad = headrace.write("a.jsonl", lines(2)), headrace.write("b.json", "[{]")
    answer = headrace("send", "papers", good, bad)
    assert answer.exit_code == 1
    assert "sent 2 events to hub 'papers' before this:" in answer.err


def test_a_closed_standard_input_is_told(headrace, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input is closed" in headrace("send", "papers", "-").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["papres", "a.jsonl"], "Did you mean 'papers'?"),
        (["titles", "a.jsonl"], "is the table 'titles'; a hub, queue or topic is needed"),
        (["papers"], "--feed URL"),
        (["papers", "missing.jsonl"], "No such file"),
        (["papers", "a.unknown"], "--lines FIELD"),
        (["papers", "."], "Is a directory"),
        (["papers", "broken.parquet"], "damaged or not what its name says"),
        (["papers", "broken.json"], "neither JSON lines"),
        (["papers", "array.json"], "begins as a JSON array but is none"),
        (["papers", "pretty.jsonl"], "not JSON lines"),
        (["papers", "bytes.parquet"], "column 'b' holds bytes"),
        (["work", "a.jsonl", "--key", "id"], "has no partitions"),
        (["papers", "a.jsonl", "--follow"], "--follow goes with --feed"),
        (["papers", "-", "-"], "only once"),
        (["papers", "--feed", "ftp://x"], "no feed address"),
        (["papers", "--feed", "http://x.example", "--limit", "1"], "--limit is for files"),
        (["work", "--feed", "http://x.example"], "a hub is needed"),
        (["papers", "latin.txt", "--lines", "doc"], "line 2 is not UTF-8"),
        (["papers", "a.jsonl", "--limit", "0"], "expected a whole number from 1 on"),
    ],
)
def test_what_cannot_be_sent_is_told_in_one_message(headrace, words, message, monkeypatch):
    monkeypatch.chdir(headrace.folder)
    headrace.write("a.jsonl", lines(1))
    headrace.write("a.unknown", "x")
    headrace.write("broken.parquet", b"PAR1 no")
    headrace.write("broken.json", '{"a": 1\n"b": 2')
    headrace.write("array.json", '[{"a": 1},\n{"b": }]')
    headrace.write("pretty.jsonl", '[\n{"a": 1}\n]')
    headrace.write("latin.txt", b"fine\ncaf\xe9\n")
    pl.DataFrame({"b": [{"c": [b"x"]}]}).write_parquet("bytes.parquet")
    answer = headrace("send", *words)
    assert answer.exit_code in {1, 2}
    assert message in answer.err
    assert answer.out == ""


def test_a_panic_inside_polars_is_a_damaged_file_and_no_traceback(headrace, monkeypatch):
    def panic(*_, **__):
        raise pl.exceptions.PanicException("called `Option::unwrap()` on a `None` value")

    pl.DataFrame({"id": [1]}).write_parquet(headrace.folder / "a.parquet")
    monkeypatch.setattr(pl.LazyFrame, "collect_schema", panic)
    answer = headrace("send", "papers", headrace.folder / "a.parquet")
    assert (answer.exit_code, answer.out) == (1, "")
    assert "a.parquet is damaged or not what its name says" in answer.err
    monkeypatch.setattr("headrace.connect.event_files.EventFile.digest", panic)
    answer = headrace("send", "papers", headrace.folder / "a.parquet")
    assert answer.exit_code == 3
    assert "an unexpected PanicException" in answer.err
