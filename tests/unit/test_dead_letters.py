"""Dead letters: nothing that was set aside is lost or doubled."""

import pytest

from headrace.local import namespace as namespace_module
from headrace.local.dead_letters import DeadLetter, DeadLetters

RAW = b'{"not": json\xff\x00'


@pytest.fixture
def letters(namespace):
    return DeadLetters(namespace)


def add(namespace, letters, *entries):
    with namespace.transaction() as tx:
        letters.add(tx, entries)


def letter(position=0, **changed):
    return DeadLetter("job", "hub", "papers", 2, position, RAW, "not JSON", "at byte 8")._replace(**changed)


def test_an_entry_comes_back_with_its_bytes_reason_and_times(namespace, letters, clock):
    add(namespace, letters, letter(7, first_us=5))
    (found,) = letters.find()
    assert found == letter(7, first_us=5, dead_us=clock.now_us(), id=found.id)
    assert letters.get(found.id) == found
    assert letters.get(found.id + 1) is None


def test_the_same_event_twice_is_one_entry_with_the_attempts_of_both(namespace, letters, clock):
    add(namespace, letters, letter(attempts=2))
    first_us = clock.now_us()
    clock.sleep(1)
    add(namespace, letters, letter(attempts=3, reason="model said no"))
    (found,) = letters.find()
    assert (found.attempts, found.reason) == (5, "model said no")
    assert (found.first_us, found.dead_us) == (first_us, clock.now_us())


@pytest.mark.parametrize(
    "other",
    [
        {"job": "other"},
        {"source_kind": "queue"},
        {"source": "other"},
        {"partition": 3},
        {"position": 1},
    ],
)
def test_events_that_differ_in_any_part_of_their_origin_are_two_entries(namespace, letters, other):
    add(namespace, letters, letter(), letter(**other))
    assert letters.count() == 2


def test_entries_are_found_by_job_source_and_tenant(namespace, letters):
    add(
        namespace,
        letters,
        letter(1),
        letter(2, job="b"),
        letter(3, source="s"),
        letter(4, tenant="t"),
        letter(5, job="b", source="s", tenant="t"),
    )

    def positions(**wanted):
        return [found.position for found in letters.find(**wanted)]

    assert positions() == [1, 2, 3, 4, 5]
    assert positions(job="b") == [2, 5]
    assert positions(source="s") == [3, 5]
    assert positions(tenant="t") == [4, 5]
    assert positions(job="b", source="s", tenant="t") == [5]
    assert positions(job="none") == []
    assert (letters.count(), letters.count(job="b")) == (5, 2)


@pytest.mark.parametrize("page_bytes", [1, 40, 10**6])
def test_pages_bounded_in_rows_and_bytes_show_every_entry_once(namespace, letters, monkeypatch, page_bytes):
    monkeypatch.setattr(namespace_module, "MAX_BATCH_BYTES", page_bytes)
    add(namespace, letters, *(letter(position) for position in range(10)))
    seen, after = [], 0
    while page := letters.find(after=after, limit=4):
        assert len(page) <= 4
        seen += [found.position for found in page]
        after = page[-1].id
    assert seen == list(range(10))


def test_deleted_entries_are_gone_and_their_ids_are_not_used_again(namespace, letters):
    add(namespace, letters, *(letter(position) for position in range(3)))
    ids = [found.id for found in letters.find()]
    with namespace.transaction() as tx:
        assert letters.delete(tx, ids[1:]) == 2
        assert letters.delete(tx, ids[1:]) == 0
        assert letters.delete(tx, []) == 0
    assert [found.position for found in letters.find()] == [0]
    add(namespace, letters, letter(9))
    assert letters.find()[-1].id > ids[-1]
