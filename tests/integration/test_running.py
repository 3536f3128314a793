"""A run begins where another left off, or is only just ending."""

import itertools
import signal
import sys

import pytest

from headrace.engine.instances import Command
from headrace.errors import QueryError
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.staged import StagedFile
from headrace.project import Project
from headrace.project.running import run_of
from headrace.project.status import looking

SETTINGS = """
[inputs.events]
kind = "hub"
[outputs.rows]
kind = "file"
path = "rows.jsonl"
[jobs.job]
sql = "SELECT id INTO rows FROM events"
"""


def test_what_an_instance_left_behind_is_about_to_commit_is_not_cut_off_its_file(tmp_path):
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    project, rows = Project.load(tmp_path), tmp_path / "rows.jsonl"
    with Namespace.open(project.data) as namespace:
        StagedFile(namespace, "job", "instance-0", "rows").begin("rows.jsonl")
        rows.write_bytes(b'{"id":1}\n')
        left_behind = Progress(namespace).acquire("job", "instance-0", "instance-0")
        with run_of(project, ["job"]):
            assert rows.read_bytes() == b'{"id":1}\n'
        left_behind.release()
        with run_of(project, ["job"]):
            assert rows.read_bytes() == b""


def test_a_job_whose_instances_die_before_they_report_anything_is_failed_and_says_why(tmp_path):
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    project = Project.load(tmp_path)
    with Namespace.open(project.data) as namespace:
        Hub.create(namespace.hubs_folder, "events", partitions=1).close()
        with run_of(project, ["job"]) as run:
            dies = [sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 9)"]
            run.supervisor.commands = [Command("job", 0, dies)]
            run.start()
            with looking(project, ["job"]) as look:
                for _ in itertools.count():
                    run.supervisor.watch()
                    [status] = look.look()
                    if status.instances:
                        break
            run.supervisor.kill()
    assert status.health == "failed"
    assert status.instances[0].condition.note == f"killed by {signal.SIGKILL.name}"


def test_a_query_that_must_be_refused_is_told_with_the_job_and_the_file_that_it_stands_in(tmp_path):
    settings = SETTINGS + '[jobs.other]\nquery = "other.sql"\n'
    (tmp_path / "headrace.toml").write_text(settings)
    (tmp_path / "other.sql").write_text("SELECT id INTO rows FRM events")
    with pytest.raises(QueryError) as caught, run_of(Project.load(tmp_path), ["job", "other"]):
        pass
    assert str(caught.value).startswith("jobs.other.query, other.sql: ")
    assert "(line 1, column " in str(caught.value)
