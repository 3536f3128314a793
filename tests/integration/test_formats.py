"""Jobs whose hubs and queues hold bodies that are no JSON."""

import io
import json

import polars as pl
import pytest

from headrace.engine.job import Instance
from headrace.events.formats.avro import encode_avro
from headrace.events.formats.json import from_rows
from headrace.local.dead_letters import DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.queue import Queue
from headrace.project import Project
from headrace.project.opening import opened_job

JOB = """
[inputs.events]
kind = "{kind}"
format = "{form}"
delimiter = ";"

[outputs.out]
kind = "hub"
partitions = 1

[jobs.copy]
sql = "SELECT name, n INTO out FROM events"
"""

CSV = [b"name;n\n\xc3\xa9;1\n;2\n", b'n;name\n3;"x;y"', b"name;n\nbad"]


def avro():
    rows = [{"name": "é", "n": 1}, {"name": None, "n": 2}]
    good = encode_avro(from_rows(rows), ["name", "n"])
    other = encode_avro(from_rows([{"n": 3.5, "name": "x;y"}]), ["name", "n"])
    return [good, other, good[:-1]]


def parquet():
    bodies = []
    for frame in (
        pl.DataFrame({"name": ["é", None], "n": [1, 2]}),
        pl.DataFrame({"n": [3.5], "name": ["x;y"]}),
    ):
        file = io.BytesIO()
        frame.write_parquet(file)
        bodies.append(file.getvalue())
    return [*bodies, bodies[0][:-1]]


def ran(folder, kind, form, bodies):
    """Return the rows that a job made of the bodies, and the reasons of its dead letters."""
    (folder / "headrace.toml").write_text(JOB.format(kind=kind, form=form))
    project = Project.load(folder)
    with Namespace.open(project.data) as namespace:
        if kind == "hub":
            with Hub.ensure(namespace.hubs_folder, "events", partitions=1, retention_s=None) as hub:
                hub.publish_bodies(bodies)
        else:
            with namespace.transaction() as tx:
                Queue(namespace, "events").send(tx, bodies)
        Progress(namespace).request_stop("copy", "end")
        with opened_job(project, namespace, "copy", 0) as opened:
            Instance(opened, namespace).run()
        with Hub.open(namespace.hubs_folder, "out") as hub:
            rows = [json.loads(body) for body in hub.read(0, 0, max_events=100, max_bytes=1 << 20).bodies]
        return rows, [letter.reason for letter in DeadLetters(namespace).find()]


@pytest.mark.parametrize("kind", ["hub", "queue"])
@pytest.mark.parametrize(
    ("form", "bodies", "numbers", "reason"),
    [
        ("csv", lambda: CSV, ["1", "2", "3"], "1 field, where the header has 2"),
        ("avro", avro, [1, 2, 3.5], "ends inside the block"),
        ("parquet", parquet, [1, 2, 3.5], "must end with PAR1"),
    ],
)
def test_a_job_reads_every_row_of_bodies_in_a_format_and_sets_the_broken_one_aside(
    tmp_path, kind, form, bodies, numbers, reason
):
    rows, reasons = ran(tmp_path, kind, form, bodies())
    assert rows == [
        {"name": name, "n": number} for name, number in zip(["é", None, "x;y"], numbers, strict=True)
    ]
    assert len(reasons) == 1
    assert reason in reasons[0]
