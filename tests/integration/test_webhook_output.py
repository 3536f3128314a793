"""A job that posts its rows: killed, refused and started again, each row is at the target once."""

import json
import signal
import threading

import pytest

from headrace.testing.webhook_target import WebhookTarget, requests, taken
from tests.crash.processes import TIMEOUT_S, Sandbox, wait_until

SETTINGS = """
[inputs.papers]
kind = "hub"
partitions = 1
[outputs.hook]
kind = "webhook"
url = "{url}"
max_rows = 7
[jobs.score]
sql = "SELECT id INTO hook FROM papers WHERE id % 3 <> 0"
"""

IDS = [number for number in range(100) if number % 3]


class Posting(Sandbox):
    """A project whose target does as `mood` says."""

    mood = "well"

    def rows(self):
        return [row["id"] for row in taken(self.folder)]

    def moods(self):
        return [request["mood"] for request in requests(self.folder)]


@pytest.fixture
def posting(tmp_path):
    posting = Posting(tmp_path)
    with WebhookTarget(tmp_path, lambda: posting.mood) as target:
        thread = threading.Thread(target=target.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        posting.write(headrace__toml=SETTINGS.format(url=target.url))
        posting.publish("papers", [json.dumps({"id": number}).encode() for number in range(100)])
        yield posting
        target.shutdown()
        thread.join()


def test_a_job_killed_after_a_request_was_taken_posts_it_again_and_doubles_nothing(posting, monkeypatch):
    monkeypatch.setenv("HEADRACE_CRASH_AT", "job.deliver.after_send")
    assert posting.run("run", "score", "--instance", "0").returncode == -signal.SIGKILL
    monkeypatch.delenv("HEADRACE_CRASH_AT")
    ended = posting.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert posting.rows() == IDS
    keys = [request["key"] for request in requests(posting.folder)]
    assert len(keys) > len(set(keys))


def test_rows_that_are_refused_stop_the_job_and_are_delivered_when_that_is_mended(posting):
    posting.mood = "refused"
    stopped = posting.run("run")
    assert stopped.returncode == 2, stopped.stderr
    assert "output 'hook': http://127.0.0.1:" in stopped.stderr
    assert "refuses the rows with 403" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    posting.mood = "well"
    ended = posting.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert posting.rows() == IDS


def test_sigterm_ends_a_job_whose_target_is_not_well(posting):
    posting.mood = "busy"
    with posting.running("run") as run:
        wait_until(lambda: len(posting.moods()) > 2)
        run.send_signal(signal.SIGTERM)
        _, said = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 3
    assert "asked to end meanwhile" in said
    posting.mood = "well"
    ended = posting.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert posting.rows() == IDS
