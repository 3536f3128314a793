"""`headrace peek`, `sample`, `dead-letters`: looking takes nothing away, a retry doubles nothing."""

import json
import signal

import polars as pl
import pytest

from headrace.clock import SystemClock
from headrace.local.browse import newest_messages
from headrace.local.dead_letters import DEAD_OUTPUT, DEAD_ROW, DeadLetter, DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.local.table import Entities, Table
from headrace.project.latest import newest_events
from tests.integration.command import Commands


@pytest.fixture
def headrace(tmp_path, capsys):
    return Commands(tmp_path, capsys)


@pytest.fixture
def namespace(headrace):
    with Namespace.open(headrace.folder / ".headrace") as opened:
        yield opened


@pytest.fixture
def papers(headrace):
    with Hub.ensure(headrace.folder / ".headrace" / "hubs", "papers") as hub:
        yield hub


def stored(hub):
    return [event.body for event in newest_events(hub, 1000)]


def upsert(namespace, name, *properties):
    keys = pl.Series([str(number) for number in range(len(properties))])
    entities = Entities(pl.Series([""] * len(properties)), keys, pl.Series(properties))
    with namespace.transaction() as tx:
        Table(namespace, name).upsert(tx, entities)


def letters(namespace):
    return DeadLetters(namespace).find()


def bury(namespace, *entries):
    with namespace.transaction() as tx:
        DeadLetters(namespace).add(tx, entries)


def hub_letter(position, body=b"{}", *, partition=2, reason="not JSON", job="copy"):
    return DeadLetter(job, "hub", "papers", partition, position, body, reason)


def queue_letter(position, body=b"{}"):
    return DeadLetter("drain", "queue", "work", 0, position, body, "too many deliveries")


# --- peek -------------------------------------------------------------------------------------------------


def test_a_table_shows_its_first_rows_and_their_number(headrace, namespace):
    upsert(namespace, "titles", *(f'{{"title":"t{number}","n":1.10,"r":{{"a":1}}}}' for number in range(12)))
    answer = headrace("peek", "titles", "--rows", 2)
    assert answer.out.splitlines() == [
        "row_key  title  n     r",
        '0        t0     1.10  {"a":1}',
        '1        t1     1.10  {"a":1}',
    ]
    assert "12 rows, 2 shown" in answer.err
    document = headrace("peek", "titles", "--json", "--rows", 1).document
    assert (document["rows"], document["first"][0]["properties"]["title"]) == (12, "t0")


def test_a_table_is_written_to_a_file_that_the_suffix_chooses(headrace, namespace):
    upsert(namespace, "titles", '{"title":"t"}')
    file = headrace.folder / "titles.csv"
    assert "wrote 1 row of table 'titles'" in headrace("peek", "titles", "--to", file).out
    assert pl.read_csv(file)["title"].to_list() == ["t"]
    assert headrace("peek", "titles", "--to", headrace.folder / "titles.xls").exit_code == 2


def test_a_hub_shows_partitions_and_its_latest_events_safely(headrace, papers):
    papers.publish_bodies([b"a", b"b\x1b[31m\xff"], partition=1)
    answer = headrace("peek", "papers")
    assert r"b\x1b[31m\xff" in answer.out
    assert "\x1b" not in answer.out
    document = headrace("peek", "papers", "--json", "--rows", 1).document
    assert document["partitions"][1] == {"partition": 1, "begin": 0, "end": 2}
    assert [event["offset"] for event in document["latest"]] == [1]


def test_the_latest_events_are_those_enqueued_last_over_all_partitions(papers):
    for number in range(40):
        papers.publish_bodies([b"%d" % number], partition=number * 7 % 4)
    assert stored(papers)[-10:] == [b"%d" % number for number in range(30, 40)]
    assert [event.body for event in newest_events(papers, 10)] == [b"%d" % number for number in range(30, 40)]


def test_a_queue_shows_its_depth_and_keeps_its_messages(headrace, namespace):
    queue = Queue(namespace, "work")
    with namespace.transaction() as tx:
        queue.send(tx, [b"one", b"two"])
    document = headrace("peek", "work", "--json").document
    assert document["depth"]["visible"] == 2
    assert [(m["body"], m["deliveries"]) for m in document["latest"]] == [("one", 0), ("two", 0)]
    assert len(queue.claim(limit=10, owner="test")) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["titel"], "Did you mean 'titles'?"),
        (["titles"], "has no rows yet"),
        (["papers"], "is not there yet: `headrace send papers FILE`"),
        (["work", "--to", "x.csv"], "only tables are written to files"),
        (["work", "--rows", "-1"], "expected a whole number from 0 on"),
    ],
)
def test_what_cannot_be_shown_says_what_to_do(headrace, namespace, words, message):
    answer = headrace("peek", *words)
    assert (answer.exit_code, message in answer.err) == (2, True), answer.err


def test_before_anything_ran_there_is_nothing_to_see_and_nothing_is_made(headrace):
    assert "nothing has been sent or run" in headrace("peek", "titles").err
    assert headrace("dead-letters").exit_code == 0
    assert not (headrace.folder / ".headrace").exists()


def test_what_no_settings_declare_can_be_shown_and_two_of_one_name_are_told_apart(
    headrace, namespace, papers
):
    upsert(namespace, "papers", "{}")
    assert "names hub 'papers' and table 'papers'" in headrace("peek", "papers").err
    assert headrace("peek", "papers", "--kind", "table", "--json").document["kind"] == "table"


# --- sample -----------------------------------------------------------------------------------------------


def test_a_sample_of_a_hub_is_its_newest_events_as_lines_of_json(headrace, papers):
    papers.publish_bodies([b'{"n": 0}', b'{"n":\r\n 1}', b"no json", b'[{"n":2},{"n":3}]'])
    answer = headrace("sample", "papers", "-n", 3, "--seconds", 0)
    assert answer.out == '{"n":   1}\n{"n":2}\n{"n":3}\n'
    assert "1 event left out: not JSON" in answer.err


def test_a_sample_waits_for_events_that_are_still_to_come(headrace, papers, monkeypatch):
    papers.publish_bodies([b'{"n":1}'])
    published = []

    def publish_instead_of_sleeping(_clock, _seconds):
        if not published:
            published.append(papers.publish_bodies([b'{"n":2}'], partition=3))

    monkeypatch.setattr(SystemClock, "sleep", publish_instead_of_sleeping)
    file = headrace.folder / "sample.jsonl"
    document = headrace("sample", "papers", "-n", 2, "-o", file, "--seconds", 20, "--json").document
    assert document["events"] == 2
    assert file.read_text() == '{"n":1}\n{"n":2}\n'


def test_a_sample_of_a_queue_leases_and_counts_nothing(headrace, namespace):
    queue = Queue(namespace, "work")
    with namespace.transaction() as tx:
        queue.send(tx, [b'{"n":1}', b'{"n":2}', b'{"n":3}'])
    assert headrace("sample", "work", "-n", 2).out == '{"n":2}\n{"n":3}\n'
    assert {message.delivery_count for message in queue.claim(limit=10, owner="test")} == {1}


def test_an_empty_sample_is_something_to_try_again(headrace, papers):
    file = headrace.folder / "s.jsonl"
    answer = headrace("sample", "papers", "--seconds", 0, "-o", file)
    assert (answer.exit_code, "--seconds S waits longer" in answer.err) == (3, True)
    assert not file.exists()
    assert headrace("sample", "titles").exit_code == 2
    assert headrace("sample", "papers", "-n", 0).exit_code == 2
    assert headrace("sample", "papers", "--json").exit_code == 2


# --- dead letters -----------------------------------------------------------------------------------------


def test_letters_are_shown_with_place_reason_and_escaped_body(headrace, namespace):
    bury(namespace, hub_letter(17, b"\xff{\x1b"), queue_letter(4))
    out = headrace("dead-letters").out
    assert "1  job copy, hub 'papers', partition 2, offset 17; 1 attempt" in out
    assert r"3 bytes: \xff{\x1b" in out
    assert "queue 'work', message 4" in out
    document = headrace("dead-letters", "--json", "--id", 1).document
    assert (document["total"], document["dead_letters"][0]["body_base64"]) == (2, "/3sb")


def test_raw_gives_the_bytes_of_a_body_as_they_came(headrace, namespace):
    body = bytes(range(256))
    bury(namespace, hub_letter(1, body))
    assert headrace.process("dead-letters", "show", "--raw").stdout == body


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--all"], []),
        (["--id", 1, 3], [2, 4]),
        (["--job", "copy"], [4]),
        (["--source", "work"], [1, 2, 3]),
        (["--reason", "utf"], [1, 3, 4]),
        (["--job", "copy", "--reason", "JSON"], [2, 4]),
    ],
)
def test_dropping_takes_what_the_filters_say_and_nothing_else(headrace, namespace, words, left):
    bury(namespace, hub_letter(1), hub_letter(2, reason="not UTF-8"), hub_letter(3), queue_letter(1))
    answer = headrace("dead-letters", "drop", *words)
    assert answer.exit_code == 0
    assert f"dropped {4 - len(left)} dead letter" in answer.out
    assert [letter.id for letter in letters(namespace)] == left


def test_dropping_or_retrying_everything_must_be_said(headrace, namespace):
    bury(namespace, hub_letter(1))
    for action in ("drop", "retry"):
        assert "--all" in headrace("dead-letters", action).err
        assert headrace("dead-letters", action, "--all", "--id", 1).exit_code == 2
        assert headrace("dead-letters", action, "--id", 9).exit_code == 2
    assert len(letters(namespace)) == 1


def test_retrying_puts_each_body_back_where_it_came_from(headrace, namespace, papers):
    bury(namespace, hub_letter(1, b"one"), queue_letter(1, b"two"), hub_letter(2, b"three"))
    assert headrace("dead-letters", "retry", "--all", "--json").document == {"retried": 3}
    assert papers.ends() == [0, 0, 2, 0]
    assert stored(papers) == [b"one", b"three"]
    assert [message.body for message in newest_messages(namespace, "work", limit=9)] == [b"two"]
    assert letters(namespace) == []


def test_a_row_of_several_events_is_shown_and_dropped_but_not_retried(headrace, namespace, papers):
    row = DeadLetter("copy", DEAD_ROW, "copy", 12, 0, b'{"n":1}', "thirteen is refused")
    bury(namespace, row, hub_letter(1, b"one"))
    assert "1  job copy, row 'copy', epoch 12; 1 attempt" in headrace("dead-letters").out
    answer = headrace("dead-letters", "retry", "--all")
    assert "retried 1 dead letter" in answer.out
    assert "a row that a job made of several events cannot be retried" in answer.err
    assert stored(papers) == [b"one"]
    assert [letter.source_kind for letter in letters(namespace)] == [DEAD_ROW]
    assert "dropped 1" in headrace("dead-letters", "drop", "--all").out


def test_counting_letters_changes_nothing(headrace, namespace, papers):
    bury(namespace, hub_letter(1), hub_letter(2), queue_letter(4))
    answer = headrace("dead-letters", "retry", "--all", "--count", "--json")
    assert answer.document["total"] == 3
    assert sorted(row["letters"] for row in answer.document["counts"]) == [1, 2]
    assert headrace("dead-letters", "drop", "--kind", "hub", "--count").out.startswith("2 dead letters\n")
    assert headrace("dead-letters", "--count", "--limit", 1).out.startswith("1 dead letter\n")
    assert (len(letters(namespace)), stored(papers)) == (3, [])


def test_letters_are_chosen_by_the_time_they_were_set_aside(headrace, namespace):
    day_us = 86_400_000_000
    bury(namespace, *(hub_letter(n)._replace(dead_us=n * day_us) for n in range(1, 6)))
    answer = headrace("dead-letters", "drop", "--since", "1970-01-03", "--until", "1970-01-05T00:00:00Z")
    assert "dropped 2" in answer.out
    assert [letter.position for letter in letters(namespace)] == [1, 4, 5]
    assert headrace("dead-letters", "--since", "yesterday").exit_code == 2


def test_only_so_many_letters_are_retried(headrace, namespace, papers):
    bury(namespace, *(hub_letter(number, b"%d" % number) for number in range(5)))
    assert "retried 2" in headrace("dead-letters", "retry", "--all", "--limit", 2).out
    assert stored(papers) == [b"0", b"1"]


def test_what_has_no_place_to_go_back_to_can_be_published_to_a_hub(headrace, namespace, papers):
    row = DeadLetter("copy", DEAD_ROW, "copy", 12, 0, b'{"n":1}', "thirteen is refused")
    line = DeadLetter("copy", "file", "orders", 0, 7, b"{line", "not JSON")
    gone = DeadLetter("gone", DEAD_OUTPUT, "hook", 0, 7, b'{"n":2}', "422")
    bury(namespace, row, line, gone)
    answer = headrace("dead-letters", "retry", "--all")
    assert "retried 0" in answer.out
    assert "--to HUB" in answer.err
    assert "the job does not write there any more" in answer.err
    assert "retried 3" in headrace("dead-letters", "retry", "--all", "--to", "papers").out
    assert sorted(stored(papers)) == [b'{"n":1}', b'{"n":2}', b"{line"]
    assert letters(namespace) == []
    assert headrace("dead-letters", "drop", "--all", "--to", "papers").exit_code == 2


@pytest.mark.parametrize("point", ["hub.publish.before_commit:2", "hub.publish.after_commit:2"])
def test_a_retry_killed_around_a_commit_and_started_again_loses_and_doubles_nothing(
    headrace, namespace, papers, point
):
    bury(namespace, *(hub_letter(number, b"%d" % number) for number in range(3)), queue_letter(1, b"q"))
    killed = headrace.process("dead-letters", "retry", "--all", crash_at=point)
    assert killed.returncode == -signal.SIGKILL
    assert len(letters(namespace)) == 4
    assert headrace("dead-letters", "retry", "--all").exit_code == 0
    assert sorted(stored(papers)) == [b"0", b"1", b"2"]
    assert [message.body for message in newest_messages(namespace, "work", limit=9)] == [b"q"]
    assert letters(namespace) == []


def test_letters_of_a_namespace_made_anew_are_not_taken_for_those_of_the_old_one(headrace, papers, tmp_path):
    for body in (b"old", b"new"):
        with Namespace.open(tmp_path / ".headrace") as namespace:
            bury(namespace, hub_letter(1, body))
        assert headrace("dead-letters", "retry", "--id", 1).exit_code == 0
        for file in (tmp_path / ".headrace").glob("namespace.db*"):
            file.unlink()
    assert stored(papers) == [b"old", b"new"]


def test_an_event_that_dies_again_after_its_retry_can_be_retried_again(headrace, namespace, papers):
    for _ in range(2):
        bury(namespace, hub_letter(1, b"one"))
        assert headrace("dead-letters", "retry", "--all").exit_code == 0
    assert stored(papers) == [b"one", b"one"]


def test_a_bad_event_goes_to_the_dead_letters_and_back_and_the_good_ones_to_the_table(headrace):
    events = [{"id": str(number), "title": "t"} for number in range(3)]
    lines = "\n".join(["{bad", *map(json.dumps, events)])
    assert headrace("send", "papers", headrace.write("a.jsonl", lines)).exit_code == 0
    assert headrace.process("run", "copy", "--until-end").returncode == 0
    assert headrace("peek", "titles", "--json").document["rows"] == 3
    assert headrace("dead-letters", "--raw").out == "{bad"
    assert headrace("dead-letters", "retry", "--job", "copy").exit_code == 0
    assert headrace("peek", "papers", "--json").document["latest"][-1]["body"] == "{bad"
