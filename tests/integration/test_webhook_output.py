"""A job that posts its rows: killed, refused and started again, each row is at the target once."""

import json
import signal
import threading
import time

import pytest

from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
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
    bad = staticmethod(lambda row: False)

    def is_bad(self, row):
        return self.bad(row)

    def rows(self):
        return [row["id"] for row in taken(self.folder)]

    def instances(self, job):
        with Namespace.open(self.data, create=False) as namespace:
            return Progress(namespace).instances(job)

    def moods(self):
        return [request["mood"] for request in requests(self.folder)]


@pytest.fixture
def posting(tmp_path):
    posting = Posting(tmp_path)
    with WebhookTarget(tmp_path, lambda: posting.mood, posting.is_bad) as target:
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


@pytest.mark.parametrize("asked", ["sigterm", "stop"])
def test_a_job_whose_target_is_not_well_ends_when_it_is_asked_to_and_keeps_the_rows(posting, asked):
    posting.mood = "busy"
    with posting.running("run") as run:
        wait_until(lambda: len(posting.moods()) > 4)
        [instance] = posting.instances("score")
        assert instance.condition.state == "retrying"
        assert "'hook'" in instance.condition.note
        assert "it answers 503" in instance.condition.note
        began = time.monotonic()
        if asked == "sigterm":
            run.send_signal(signal.SIGTERM)
        else:
            assert posting.run("stop").returncode == 0
        _, said = run.communicate(timeout=TIMEOUT_S)
    assert time.monotonic() - began < (1 if asked == "sigterm" else 5)  # the command's own start counts, too
    assert run.returncode == 0, said
    assert "rows for output 'hook' are kept" in said
    [instance] = posting.instances("score")
    assert instance.condition.state == "ended"
    posting.mood = "well"
    ended = posting.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert posting.rows() == IDS


def test_a_job_goes_on_in_one_process_once_its_target_is_well_again(posting):
    posting.mood = "busy"
    with posting.running("run", "--until-end") as run:
        wait_until(lambda: len(posting.moods()) > 5)
        posting.mood = "well"
        _, said = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, said
    assert "starting it again" not in said
    assert "takes rows again, after" in said
    assert posting.rows() == IDS


def refusing(posting, more=""):
    """Let the target refuse every id that ends in 1, and the job set such rows aside."""
    settings = (posting.folder / "headrace.toml").read_text("utf-8")
    posting.write(
        headrace__toml=settings.replace("max_rows = 7", f'max_rows = 7\non_error = "dead-letter"{more}')
    )
    posting.bad = lambda row: row["id"] % 10 == 1


def letters(posting):
    """Return the ids of the rows that are dead letters, sorted."""
    found = posting.dead_letters()
    assert all(
        (letter.job, letter.source_kind, letter.source) == ("score", "output", "hook") for letter in found
    )
    return sorted(json.loads(letter.body)["id"] for letter in found)


REFUSED = [number for number in IDS if number % 10 == 1]
TAKEN = [number for number in IDS if number % 10 != 1]


@pytest.mark.parametrize("crash_at", ["", "delivery.set_aside"])
def test_rows_that_are_refused_are_dead_letters_and_the_rest_arrives_once(posting, monkeypatch, crash_at):
    refusing(posting)
    if crash_at:
        monkeypatch.setenv("HEADRACE_CRASH_AT", crash_at)
        assert posting.run("run", "score", "--instance", "0").returncode == -signal.SIGKILL
        monkeypatch.delenv("HEADRACE_CRASH_AT")
        assert letters(posting) == []
    ended = posting.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert sorted(posting.rows()) == TAKEN
    assert letters(posting) == REFUSED
    posting.bad = lambda row: False
    assert "retried" in posting.run("dead-letters", "retry", "--source", "hook", "--kind", "output").stdout
    ended = posting.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert sorted(posting.rows()) == IDS
    assert letters(posting) == []


def test_rows_for_a_target_that_is_away_for_too_long_are_dead_letters(posting):
    refusing(posting, "\nmax_tries = 3")
    posting.mood = "busy"
    ended = posting.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert letters(posting) == IDS
    assert posting.moods() == ["busy"] * len(posting.moods())
    posting.mood, posting.bad = "well", lambda row: False
    posting.run("dead-letters", "retry", "--all")
    ended = posting.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert sorted(posting.rows()) == IDS
