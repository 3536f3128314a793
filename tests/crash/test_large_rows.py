"""A row that no output takes is set aside with its event: a commit never holds what cannot be delivered."""

import json

import polars as pl
import pytest

from headrace.connect.hub import HubSink
from headrace.connect.sink import Rows
from headrace.events.formats.json import JsonDecoder
from headrace.limits import MAX_EVENT_BYTES, MAX_KEY_CHARS
from headrace.local.hub import Hub
from tests.crash.processes import Sandbox

SETTINGS = """
[inputs.papers]
kind = "hub"
[outputs.echo]
kind = "hub"
[outputs.work]
kind = "queue"
[jobs.to_hub]
sql = "SELECT id, doc, doc AS again INTO echo FROM papers"
[jobs.to_queue]
sql = "SELECT id, doc, doc AS again INTO work FROM papers"
"""


@pytest.mark.parametrize("job", ["to_hub", "to_queue"])
def test_an_event_whose_row_becomes_too_large_is_set_aside_and_its_neighbours_go_on(job, tmp_path):
    sandbox = Sandbox(tmp_path)
    sandbox.write(headrace__toml=SETTINGS)
    docs = ["small", "x" * (MAX_EVENT_BYTES // 2), "small too"]
    bodies = [json.dumps({"id": n, "doc": doc}).encode() for n, doc in enumerate(docs)]
    sandbox.publish("papers", bodies)
    ended = sandbox.run("run", job, "--until-end", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["jobs"][job] == {"events_in": 3, "rows_out": 2, "dead": 1}
    [letter] = sandbox.dead_letters()
    assert letter.body == bodies[1]
    assert f"more than the {MAX_EVENT_BYTES:,} of one event" in letter.reason


def prepared(sink, documents):
    bodies = [json.dumps(document).encode() for document in documents]
    batch = JsonDecoder().decode(bodies).batch
    return sink.prepare(Rows(batch, pl.Series))


def test_a_block_beyond_one_publish_call_is_delivered_in_several_each_of_them_once(tmp_path):
    documents = [{"n": n, "doc": "x" * (MAX_EVENT_BYTES - 100)} for n in range(9)]
    with Hub.create(tmp_path, "echo", partitions=2) as hub:
        sink = HubSink(hub)
        block = prepared(sink, documents).payload
        sink.deliver(block, "job:j:echo:instance-0", 1)
        sink.deliver(block, "job:j:echo:instance-0", 1)
        assert sum(hub.ends()) == len(documents)
        sink.deliver(block, "job:j:echo:instance-0", 2)
        assert sum(hub.ends()) == 2 * len(documents)


def test_a_key_column_of_any_length_chooses_a_partition(tmp_path):
    with Hub.create(tmp_path, "echo", partitions=8) as hub:
        sink = HubSink(hub, key="doc")
        block = prepared(sink, [{"doc": "y" * (2 * MAX_KEY_CHARS)}] * 5).payload
        sink.deliver(block, "p", 1)
        assert sorted(hub.ends()) == [0] * 7 + [5]
