"""An event that kills the process is found, set aside with its bytes, and harms none of its neighbours."""

import json

import pytest

from headrace.engine.letters import KILLER
from tests.crash.processes import Sandbox

SETTINGS = """
[inputs.papers]
kind = "hub"
[inputs.work]
kind = "queue"
[outputs.results]
kind = "table"
row_key = "id"
[functions.shout]
python = "shout.py:shout"
[jobs.from_hub]
sql = "SELECT id, shout(doc) AS doc INTO results FROM papers"
[jobs.from_queue]
sql = "SELECT id, shout(doc) AS doc INTO results FROM work"
"""

LETHAL = """
import os

def shout(doc):
    if doc == "poison":
        os.kill(os.getpid(), 9)
    return doc.upper()
"""


def body(number, doc="hello"):
    return json.dumps({"id": f"{number:03}", "doc": doc}).encode()


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path)
    sandbox.write(headrace__toml=SETTINGS, shout__py=LETHAL)
    return sandbox


def test_a_lethal_event_of_a_hub_is_found_by_bisection_and_its_neighbours_are_stored(sandbox):
    bodies = [body(n, "poison" if n == 77 else "hello") for n in range(150)]
    sandbox.publish("papers", bodies)
    ended = sandbox.run("run", "from_hub", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert sandbox.keys("results") == [f"{n:03}" for n in range(150) if n != 77]
    [letter] = sandbox.dead_letters()
    assert (letter.job, letter.source, letter.partition, letter.position) == ("from_hub", "papers", 0, 77)
    assert letter.body == bodies[77]
    assert letter.reason == KILLER
    assert "Traceback" not in ended.stderr


def test_a_lethal_message_of_a_queue_is_set_aside_and_its_neighbours_are_finished(sandbox):
    bodies = [body(n, "poison" if n == 77 else "hello") for n in range(150)]
    sandbox.send("work", bodies)
    ended = sandbox.run("run", "from_queue", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert sandbox.keys("results") == [f"{n:03}" for n in range(150) if n != 77]
    [letter] = sandbox.dead_letters()
    assert (letter.source_kind, letter.source, letter.body) == ("queue", "work", bodies[77])
    assert letter.reason == "too many deliveries"
    assert "Traceback" not in ended.stderr
