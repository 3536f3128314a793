"""From polls to numbered events."""

import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connect.source import Poll
from headrace.engine.arrivals import Arranger
from headrace.events.batch import ORIGIN, Batch
from headrace.events.formats.json import rows
from headrace.sql.bind import bind

BODIES = st.sampled_from(
    [b'{"id": 1}', b'{"id": "a", "more": [2]}', b'[{"id": 3}, {"id": 4}]', b'{"id":\n5}', b"{", b""]
)


def test_events_have_numbers_of_their_own_whichever_thread_arranges_them():
    arranger = Arranger(bind("SELECT id INTO rows FROM events"), None)
    numbers: list[range] = []
    poll = Poll("events", [b'{"id": 1}'], [b'{"id": 1}'], None, 0, [0])

    def arrange():
        for _ in range(300):
            found = arranger.arrange([poll] * 3, 0)
            numbers.append(range(found.first, found.behind))

    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=arrange) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before_s)
    assert len({number for some in numbers for number in some}) == 2 * 300 * 3


def poll_of(bodies: list[bytes], partition: int) -> Poll:
    lines = None if b"\n" in b"".join(bodies) else b"\n".join(bodies)
    return Poll("events", bodies, lines and [lines], None, partition, range(len(bodies)))


def said_in(batch: Batch) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if value is not None} for row in rows(batch)]


@given(st.lists(st.lists(BODIES, min_size=1, max_size=40), max_size=4))
def test_polls_of_an_input_are_decoded_together_as_they_are_one_by_one(parts):
    script = bind("SELECT id, more, PartitionId INTO rows FROM events")
    polls = [poll_of(bodies, partition) for partition, bodies in enumerate(parts)]
    together, alone = Arranger(script, None), Arranger(script, None)
    found = together.arrange(polls, 0)
    singly = [alone.arrange([poll], 0) for poll in polls]
    assert found.starts == [start for one in singly for start in one.starts]
    assert found.rejected == [reject for one in singly for reject in one.rejected]
    for piece, expected in zip(found.pieces, [piece for one in singly for piece in one.pieces], strict=True):
        assert piece.poll is expected.poll
        assert said_in(piece.batch) == said_in(expected.batch)
        assert piece.batch.frame[ORIGIN].to_list() == expected.batch.frame[ORIGIN].to_list()


SERVICE = {"EventProcessedUtcTime", "EventEnqueuedUtcTime", "PartitionId"}


@pytest.mark.parametrize(
    ("sql", "added"),
    [
        ("SELECT id INTO rows FROM events", set()),
        ("SELECT id, partitionid AS p INTO rows FROM events", {"PartitionId"}),
        ("SELECT * INTO rows FROM events", SERVICE),
        ("WITH s AS (SELECT * FROM events) SELECT id INTO rows FROM s", SERVICE),
        ("SELECT id INTO rows FROM events TIMESTAMP BY EventEnqueuedUtcTime", {"EventEnqueuedUtcTime"}),
        (
            "SELECT id INTO rows FROM events TIMESTAMP BY EventEnqueuedUtcTime OVER PartitionId",
            {"EventEnqueuedUtcTime", "PartitionId"},
        ),
        (
            "SELECT COUNT(*) AS n INTO rows FROM events PARTITION BY PartitionId "
            "GROUP BY PartitionId, TumblingWindow(second, 1)",
            {"PartitionId"},
        ),
        (
            "SELECT id INTO rows FROM events WHERE EventProcessedUtcTime IS NOT NULL",
            {"EventProcessedUtcTime"},
        ),
    ],
)
def test_the_services_columns_are_there_where_a_script_reads_them(sql, added):
    poll = Poll("events", [b'{"id": 1}'], [b'{"id": 1}'], np.array([5]), 3, [0])
    [piece] = Arranger(bind(sql), None).arrange([poll], 7).pieces
    assert {column.name for column in piece.batch.columns} - {"id"} == added
