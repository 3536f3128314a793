"""The promises of a hub, one by one."""

import contextlib
import random
import sqlite3
import threading

import pytest

from headrace import limits
from headrace.clock import ManualClock
from headrace.errors import Fatal, Transient, UserError
from headrace.local import log
from headrace.local.hub import Apart, Event, Hub, Range

ALL = {"max_events": 1 << 20, "max_bytes": 1 << 30}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def hub(tmp_path, clock):
    with Hub.create(tmp_path, "papers", clock=clock) as hub:
        yield hub


def bodies(hub, partition=0):
    return hub.read(partition, 0, **ALL).bodies


def test_calls_without_a_key_take_turns_over_the_partitions_each_as_one_block(hub):
    homes = [hub.publish_bodies([b"1", b"2"]).ranges[0].partition for _ in range(8)]
    assert homes == [0, 1, 2, 3] * 2
    assert hub.ends() == [4, 4, 4, 4]


def test_publishers_that_send_one_call_each_spread_too(tmp_path):
    Hub.create(tmp_path, "papers").close()
    for _ in range(8):
        with Hub.open(tmp_path, "papers") as hub:
            hub.publish_bodies([b"x"])
    with Hub.open(tmp_path, "papers") as hub:
        assert hub.ends() == [2, 2, 2, 2]


def test_a_key_has_the_same_partition_in_every_version_for_ever(hub):
    """These homes are stored in people's hubs: a failure here means that the hash has changed."""
    homes = {
        key: hub.publish([Event(b"x", key=key)]).ranges[0].partition for key in ("", "a", "b", "lab-7", "é")
    }
    assert homes == {"": 0, "a": 0, "b": 0, "lab-7": 0, "é": 3}


def test_keys_spread_over_the_partitions(hub):
    hub.publish([Event(b"x", key=f"sensor-{number}") for number in range(4000)])
    assert all(850 < end < 1150 for end in hub.ends())


def test_a_block_of_thousands_is_split_and_read_back_whole(hub):
    sent = [b"%d" % number for number in range(2 * limits.MAX_BLOCK_EVENTS + 5)]
    done = hub.publish_bodies(sent, partition=2)
    assert done.ranges == (Range(2, 0, len(sent)),)
    sizes = _rows(hub, "SELECT events FROM block ORDER BY first_offset")
    assert sizes == [(limits.MAX_BLOCK_EVENTS,), (limits.MAX_BLOCK_EVENTS,), (5,)]
    assert bodies(hub, 2) == sent
    part = hub.read(2, limits.MAX_BLOCK_EVENTS - 2, max_events=4, max_bytes=1 << 20)
    assert part.bodies == sent[limits.MAX_BLOCK_EVENTS - 2 :][:4]


def test_large_events_make_blocks_of_bounded_size(hub, monkeypatch):
    monkeypatch.setattr("headrace.local.publishing.MAX_BLOCK_BYTES", 1000)
    sent = [b"x" * 400, b"y" * 400, b"z" * 400, b"w" * 1500, b"v"]
    hub.publish_bodies(sent, partition=0)
    sizes = _rows(hub, "SELECT events FROM block ORDER BY first_offset")
    assert sizes == [(2,), (1,), (1,), (1,)]
    assert bodies(hub) == sent


def test_a_read_takes_blocks_up_to_its_bytes_but_at_least_one_event(hub):
    for letter in b"abc":
        hub.publish_bodies([bytes([letter]) * 100] * 3, partition=0)
    assert len(hub.read(0, 0, max_events=100, max_bytes=700)) == 6
    assert len(hub.read(0, 0, max_events=100, max_bytes=210)) == 2
    assert len(hub.read(0, 0, max_events=100, max_bytes=1)) == 1


def test_a_clock_that_jumps_back_keeps_enqueued_times_in_order(hub, clock):
    for jump_us in (0, 50, -1_000_000, 5, 2_000_000):
        clock.us += jump_us
        hub.publish_bodies([b"a", b"b"], partition=1)
    times = hub.read(1, 0, **ALL).enqueued_us.tolist()
    assert times == sorted(times)
    assert len(set(times)) == 3


def test_one_call_has_one_enqueued_time_in_all_its_partitions(hub, clock):
    hub.publish([Event(b"x", key=str(number)) for number in range(50)])
    times = [set(hub.read(partition, 0, **ALL).enqueued_us.tolist()) for partition in range(4)]
    assert times == [{clock.us}] * 4


def test_a_call_sent_again_is_acknowledged_and_stored_once(hub):
    first = hub.publish_bodies([b"1"], partition=0, producer="p", sequence=7)
    again = hub.publish_bodies([b"1"], partition=0, producer="p", sequence=7)
    older = hub.publish_bodies([b"0"], partition=0, producer="p", sequence=6)
    assert (first.duplicate, again.duplicate, older.duplicate) == (False, True, True)
    hub.publish_bodies([b"2"], partition=0, producer="q", sequence=7)
    assert bodies(hub) == [b"1", b"2"]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda hub: hub.publish([]), "nothing to publish"),
        (lambda hub: hub.publish_bodies([b"1", "2"]), "event 1 is str"),
        (
            lambda hub: hub.publish_bodies([b"1", b"x" * (limits.MAX_EVENT_BYTES + 1)]),
            "event 1 has 8,388,609",
        ),
        (lambda hub: hub.publish_bodies([b"x" * limits.MAX_EVENT_BYTES] * 9), "bytes in one call"),
        (lambda hub: hub.publish_bodies([b"1"], partition=4), "no partition 4: it has 0 to 3"),
        (lambda hub: hub.publish_bodies([b"1"], partition=-1), "no partition -1"),
        (lambda hub: hub.publish_bodies([b"1"], keys=["a", "b"]), "2 keys for 1 events"),
        (lambda hub: hub.publish_bodies([b"1"], enqueued_us=[]), "0 enqueued_us for 1 events"),
        (lambda hub: hub.publish_bodies([b"1"], enqueued_us=[2**64]), "whole microseconds"),
        (lambda hub: hub.publish_bodies([b"1"], enqueued_us=[None]), "whole microseconds"),
        (lambda hub: hub.publish([Event(b"1", key="k" * 2000)]), "partition key of event 0"),
        (lambda hub: hub.publish([Event(b"1", key="\ud800")]), "partition key of event 0"),
        (lambda hub: hub.publish([Event(b"1"), Event(b"2", properties={"a": 1})]), "properties of event 1"),
        (lambda hub: hub.publish([Event(b"1", properties={"\ud800": "a"})]), "properties of event 0"),
        (lambda hub: hub.publish([Event(b"1", properties={"a": "x" * 70_000})]), "70,001 bytes"),
        (lambda hub: hub.publish_bodies([b"1"], producer="p"), "together"),
        (lambda hub: hub.publish_bodies([b"1"], sequence=1), "together"),
        (lambda hub: hub.publish_bodies([b"1"], producer="", sequence=1), "a producer must be"),
        (lambda hub: hub.publish_bodies([b"1"], producer="p", sequence=-1), "sequence -1"),
        (lambda hub: hub.publish_bodies([b"1"], producer="p", sequence=2**63), "sequence"),
        (lambda hub: hub.read(9, 0, **ALL), "no partition 9"),
        (lambda hub: hub.read(0, 1, **ALL), "never had 1"),
        (lambda hub: hub.offset_at(9, 0), "no partition 9"),
    ],
)
def test_what_a_hub_does_not_take_is_a_clear_error_and_stores_nothing(hub, call, problem):
    with pytest.raises(UserError, match=problem):
        call(hub)
    assert hub.ends() == [0, 0, 0, 0]


@pytest.mark.parametrize("column", ["payload", "columns", "times"])
def test_a_flipped_bit_in_any_byte_of_a_block_is_found(hub, clock, column):
    sent = [b'{"n": %d}' % number for number in range(20)]
    hub.publish_bodies(
        sent, partition=3, keys=["k"] * 20, enqueued_us=[clock.us - 20 + number for number in range(20)]
    )
    stored = _rows(hub, f"SELECT {column} FROM block")[0][0]
    for place in range(len(stored)):
        changed = bytearray(stored)
        changed[place] ^= 1 << place % 8
        _change(hub, f"UPDATE block SET {column} = ?", bytes(changed))
        with pytest.raises(Fatal, match=r"hub 'papers', partition 3 is damaged at offset 0.*checksum"):
            hub.read(3, 0, **ALL)
    _change(hub, f"UPDATE block SET {column} = ?", stored)
    assert bodies(hub, 3) == sent


@pytest.mark.parametrize(
    "change", ["enqueued_us = enqueued_us + 1", "size_bytes = -1", "checksum = 0", "times = x'00'"]
)
def test_a_changed_number_of_a_block_is_found(hub, change):
    hub.publish_bodies([b"a", b"b"], partition=0)
    _change(hub, f"UPDATE block SET {change}")
    with pytest.raises(Fatal, match="damaged at offset 0"):
        hub.read(0, 0, **ALL)


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM block WHERE first_offset = 1", "UPDATE block SET first_offset = 5 WHERE first_offset = 1"],
)
def test_a_block_that_is_gone_is_found_but_does_not_hide_the_others(hub, change):
    for body in (b"a", b"b", b"c"):
        hub.publish_bodies([body], partition=0)
    _change(hub, change)
    with pytest.raises(Fatal, match="damaged at offset 1: a block is missing"):
        hub.read(0, 0, **ALL)
    assert hub.read(0, 2, max_events=1, max_bytes=100).bodies == [b"c"]


def test_blocks_that_were_exchanged_are_found(hub):
    hub.publish_bodies([b"a"], partition=0)
    hub.publish_bodies([b"b"], partition=1)
    _change(hub, "UPDATE block SET partition = 9 WHERE partition = 0")
    _change(hub, "UPDATE block SET partition = 0 WHERE partition = 1")
    with pytest.raises(Fatal, match="checksum"):
        hub.read(0, 0, **ALL)


def test_expiring_goes_in_short_transactions_and_gives_the_space_back(hub, clock, monkeypatch):
    monkeypatch.setattr(log, "_EXPIRE_BLOCKS", 3)
    for _ in range(40):
        hub.publish_bodies([b"x" * 50, b"y"])
        clock.us += 10
    transactions = []
    write = hub._database.write

    def counted():
        transactions.append(1)
        return write()

    monkeypatch.setattr(hub._database, "write", counted)
    assert hub.expire(clock.us - 100) == 60
    assert len(transactions) == 10
    assert len(_rows(hub, "SELECT 1 FROM block")) == 10
    assert hub.begins() == [end - count for end, count in zip(hub.ends(), (4, 4, 6, 6), strict=True)]


def test_a_block_that_is_half_expired_is_read_and_searched_from_its_first_kept_event(hub, clock):
    times = [clock.us - 50 + 10 * number for number in range(5)]
    hub.publish_bodies([b"a", b"b", b"c", b"d", b"e"], partition=0, enqueued_us=times)
    assert hub.expire(times[2]) == 2
    assert bodies(hub) == [b"c", b"d", b"e"]
    assert [hub.offset_at(0, time_us) for time_us in (-(10**30), times[2], times[3], 10**30)] == [2, 2, 3, 5]
    assert hub.expire(times[1]) == 0


def test_a_partition_forgets_what_is_before_an_offset_and_others_keep_theirs(hub):
    for _ in range(3):
        hub.publish_bodies([b"a", b"b"], partition=0)
        hub.publish_bodies([b"c"], partition=1)
    hub.forget(0, 3)
    assert (hub.begins(), hub.ends()) == ([3, 0, 0, 0], [6, 3, 0, 0])
    found = hub.read(0, 0, **ALL)
    assert (found.first_offset, found.bodies) == (3, [b"b", b"a", b"b"])
    hub.forget(0, 2)
    assert hub.begins()[0] == 3
    hub.forget(0, 100)
    assert (hub.begins()[0], hub.ends()[0], bodies(hub)) == (6, 6, [])
    assert bodies(hub, 1) == [b"c"] * 3


def test_a_long_past_is_forgotten_in_short_transactions(hub, monkeypatch):
    monkeypatch.setattr(log, "_EXPIRE_BLOCKS", 2)
    for _ in range(9):
        hub.publish_bodies([b"x"], partition=0)
    hub.forget(0, 7)
    assert (hub.begins()[0], len(bodies(hub))) == (7, 2)


def test_one_transaction_stores_calls_in_several_partitions_each_once(hub, monkeypatch):
    transactions = []
    write = hub._database.write
    monkeypatch.setattr(hub._database, "write", lambda: transactions.append(1) or write())
    calls = [Apart({2: [b"x", b"y"], 0: [b"z"]}, "p", 1), Apart({0: [b"w"]}, "q", 1)]
    hub.publish_apart(calls)
    hub.publish_apart([*calls, Apart({1: [b"v"]}, "q", 2)])
    hub.publish_apart([])
    assert len(transactions) == 2
    assert [bodies(hub, partition) for partition in range(4)] == [[b"z", b"w"], [b"v"], [b"x", b"y"], []]
    with pytest.raises(UserError, match="has no partition 4"):
        hub.publish_apart([Apart({0: [b"x"]}, "p", 2), Apart({4: [b"x"]}, "q", 3)])
    assert hub.ends() == [2, 1, 2, 0]


def test_a_hub_with_a_retention_forgets_by_itself(tmp_path, clock):
    with Hub.create(tmp_path, "papers", partitions=1, retention_s=3600, clock=clock) as hub:
        hub.publish_bodies([b"old"])
        clock.us += 3_601_000_000
        hub.publish_bodies([b"new"])
        assert hub.begins() == [1]
        found = hub.read(0, 0, **ALL)
        assert (found.first_offset, found.bodies) == (1, [b"new"])
    with Hub.open(tmp_path, "papers") as hub:
        assert hub.retention_s == 3600


def test_damage_in_old_events_does_not_stop_publishing(tmp_path, clock):
    with Hub.create(tmp_path, "papers", partitions=1, retention_s=3600, clock=clock) as hub:
        hub.publish_bodies([b"old"])
        _change(hub, "DELETE FROM block")
        clock.us += 3_601_000_000
        assert hub.publish_bodies([b"new"]).ranges == (Range(0, 1, 1),)


def test_a_full_disk_is_told_and_the_hub_goes_on_when_there_is_space(hub):
    hub.publish_bodies([b"before"], partition=0)
    connection = hub._database._writer
    connection.pragma("max_page_count", connection.pragma("page_count"))
    with pytest.raises(Transient, match="is full"):
        hub.publish_bodies([random.Random(1).randbytes(200_000)], partition=0, producer="p", sequence=1)
    assert bodies(hub) == [b"before"]
    connection.pragma("max_page_count", 1 << 30)
    assert hub.publish_bodies([b"after"], partition=0, producer="p", sequence=1).duplicate is False
    assert bodies(hub) == [b"before", b"after"]


def test_a_hub_that_may_only_be_read_says_so_and_can_still_be_read(hub):
    hub.publish_bodies([b"a"], partition=0)
    hub._database._writer.pragma("query_only", 1)
    with pytest.raises(UserError, match="cannot write"):
        hub.publish_bodies([b"b"], partition=0)
    assert bodies(hub) == [b"a"]
    hub._database._writer.pragma("query_only", 0)
    hub.publish_bodies([b"c"], partition=0)
    assert bodies(hub) == [b"a", b"c"]


def test_a_newer_format_is_refused(tmp_path):
    with Hub.create(tmp_path, "papers") as hub:
        _change(hub, "PRAGMA user_version = 99")
    with pytest.raises(UserError, match="newer Headrace"):
        Hub.open(tmp_path, "papers")


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "papers.db").write_bytes(b"something else entirely" * 1000)
    with pytest.raises(Fatal, match="damaged"):
        Hub.open(tmp_path, "papers")


def test_hubs_are_found_by_their_exact_names(tmp_path):
    for name in ("papers", "Papers", "a.b-c_d"):
        Hub.create(tmp_path, name).close()
    assert Hub.names(tmp_path) == ["Papers", "a.b-c_d", "papers"]
    with pytest.raises(UserError, match="Did you mean 'papers'"):
        Hub.open(tmp_path, "paper")
    with pytest.raises(UserError, match="already"):
        Hub.create(tmp_path, "papers")
    with pytest.raises(UserError, match="cannot name a hub"):
        Hub.open(tmp_path, "../papers")
    assert not list(tmp_path.glob("paper.*"))


def test_ensure_makes_a_hub_once_and_opens_it_afterwards(tmp_path):
    with Hub.ensure(tmp_path, "papers", partitions=2) as made, Hub.ensure(tmp_path, "papers") as found:
        assert (found.partitions, found.identity) == (2, made.identity)


def test_a_hub_made_anew_has_another_identity(tmp_path):
    with Hub.create(tmp_path / "a", "papers") as one, Hub.create(tmp_path / "b", "papers") as other:
        assert one.identity != other.identity


@pytest.mark.parametrize("wrong", [{"partitions": 0}, {"partitions": 10_000}, {"retention_s": 0}])
def test_a_hub_that_makes_no_sense_is_not_made(tmp_path, wrong):
    with pytest.raises(UserError):
        Hub.create(tmp_path, "papers", **wrong)
    assert Hub.names(tmp_path) == []


def test_threads_that_publish_at_once_share_commits_and_lose_nothing(hub):
    commits = []
    append = hub._commits._store
    hub._commits._store = lambda connection, calls: commits.append(len(calls)) or append(connection, calls)

    def work(thread):
        for number in range(50):
            hub.publish_bodies([b"%d:%d" % (thread, number)], producer=str(thread), sequence=number)

    with hub._database.write():  # hold everyone up, so that they come to share
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    stored = [body for partition in range(4) for body in bodies(hub, partition)]
    assert sorted(stored) == sorted(b"%d:%d" % (t, n) for t in range(8) for n in range(50))
    assert sum(commits) == 400
    assert len(commits) < 400


def test_a_commit_that_fails_fails_every_call_that_shared_it(hub):
    def fail(connection, calls):
        append(connection, calls)
        raise Fatal(f"{len(calls)} calls failed")

    append, hub._commits._store = hub._commits._store, fail
    problems = []

    def work():
        try:
            hub.publish_bodies([b"x"])
        except Fatal as error:
            problems.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    with hub._database.write():
        for thread in threads:
            thread.start()
        while len(hub._commits._waiting) < 4:
            pass
    for thread in threads:
        thread.join()
    assert problems == ["4 calls failed"] * 4
    assert hub.ends() == [0, 0, 0, 0]
    hub._commits._store = append
    hub.publish_bodies([b"x"])
    assert sum(hub.ends()) == 1


def test_every_abstract_like_text_comes_back_byte_for_byte(hub):
    sent = [
        text.encode()
        for text in ('{"t": "\\"$\\\\alpha$\\""}', "Gödel\u2028∞", "tab\tnul\0", "😀", " ", "\r\n")
    ]
    hub.publish_bodies(sent, partition=0)
    assert bodies(hub) == sent


def _rows(hub, statement):
    with hub._database.read() as connection:
        return connection.execute(statement).fetchall()


def _change(hub, statement, *values):
    with hub._database.write() as connection:
        connection.execute(statement, values)


def test_a_reader_of_another_program_sees_a_healthy_file(hub):
    hub.publish_bodies([b"a"] * 10)
    with contextlib.closing(sqlite3.connect(f"file:{hub._database.path}?mode=ro", uri=True)) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_quiet_partition_stamps_nothing_before_the_time_that_was_taken_for_over(tmp_path):
    clock = ManualClock()
    now_us = clock.now_us()
    with Hub.create(tmp_path, "h", partitions=3, clock=clock) as hub:
        hub.publish_bodies([b"a", b"b"], partition=1)
        assert hub.quiet_since({0: 0, 1: 2, 2: 1}, now_us + 5) == {0: now_us + 5, 1: now_us + 5}
        assert hub.quiet_since({1: 1}, now_us + 9) == {}
        hub.publish_bodies([b"c"], partition=1, enqueued_us=[now_us + 1])
        hub.publish_bodies([b"c"], partition=2)
        assert hub.read(1, 2, max_events=9, max_bytes=99).enqueued_us.tolist() == [now_us + 5]
        assert hub.read(2, 0, max_events=9, max_bytes=99).enqueued_us.tolist() == [now_us]
        assert hub.quiet_since({1: 3}, now_us) == {1: now_us + 5}


def test_a_hub_that_is_found_can_be_opened_however_early(tmp_path):
    found = []

    def look(folder):
        while not Hub.names(folder):
            pass
        with Hub.open(folder, Hub.names(folder)[0]) as hub:
            found.append(hub.name)

    for turn in range(20):
        folder = tmp_path / str(turn)
        seeker = threading.Thread(target=look, args=[folder])
        seeker.start()
        Hub.create(folder, "early").close()
        seeker.join()
    assert found == ["early"] * 20


def test_one_who_died_making_a_hub_leaves_nothing_in_the_way(tmp_path):
    for remain in ("", "-wal", ".lock"):
        (tmp_path / f"late.db.making{remain}").write_bytes(b"half")
    with pytest.raises(UserError, match="there is no hub"):
        Hub.open(tmp_path, "late")
    with Hub.create(tmp_path, "late") as hub:
        hub.publish_bodies([b"1"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["late.db", "late.db.lock"]
