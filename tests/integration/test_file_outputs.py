"""Jobs that write files which appear whole: other jobs read them, and several instances write them."""

import json
import subprocess
import sys
from collections import Counter

import polars as pl
import pytest

from headrace.connect.file_making import Making
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.parts import Part, PartRecord
from headrace.project import Project
from headrace.project.running import run_of

CHAIN = """
[inputs.events]
kind = "hub"
partitions = 1
[inputs.archived]
kind = "file"
path = "archive/rows-*.{suffix}"
[outputs.archive]
kind = "file"
path = "archive/rows.{suffix}"
max_rows = 300
[outputs.copies]
kind = "file"
path = "copies.jsonl"
[jobs.archive]
sql = "SELECT id, text INTO archive FROM events"
[jobs.copy]
sql = "SELECT id, text INTO copies FROM archived"
"""

SHARED = """
[inputs.events]
kind = "hub"
partitions = 4
[outputs.rows]
kind = "file"
path = "rows/{kind}/part.csv"
max_rows = 50
[jobs.store]
sql = "SELECT id, id % 2 AS kind INTO rows FROM events"
instances = INSTANCES
"""


def publish(data, events, partitions):
    with Hub.ensure(data / "hubs", "events", partitions=partitions) as hub:
        for partition in range(partitions):
            numbers = range(partition, events, partitions)
            bodies = [json.dumps({"id": n, "text": f"é {n}"}).encode() for n in numbers]
            hub.publish_bodies(bodies, partition=partition)


def run(folder, *words):
    command = [sys.executable, "-m", "headrace.cli", "run", *words, "--project", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv.gz", "jsonl.zst"])
def test_a_job_reads_the_whole_files_that_another_writes(tmp_path, suffix):
    (tmp_path / "headrace.toml").write_text(CHAIN.replace("{suffix}", suffix))
    publish(tmp_path / ".headrace", 1000, 1)
    ended = run(tmp_path, "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "archive").iterdir())) == 4
    copies = [json.loads(line) for line in (tmp_path / "copies.jsonl").read_text().splitlines()]
    assert [int(copy["id"]) for copy in copies] == list(range(1000))
    assert copies[7]["text"] == "é 7"


def test_several_instances_write_each_row_once_and_close_all_at_the_end(tmp_path):
    (tmp_path / "headrace.toml").write_text(SHARED.replace("INSTANCES", "2"))
    publish(tmp_path / ".headrace", 1000, 4)
    assert run(tmp_path, "--until-end").returncode == 0
    read = pl.concat([pl.read_csv(path) for path in (tmp_path / "rows").rglob("*.csv")])
    assert sorted(read["id"]) == list(range(1000))
    assert all(pl.read_csv(path).height <= 50 for path in (tmp_path / "rows").rglob("*.csv"))
    assert Counter(path.parent.name for path in (tmp_path / "rows").rglob("*.csv")).keys() == {"0", "1"}


def test_what_an_instance_left_open_that_is_no_more_is_closed_by_the_next_run(tmp_path):
    (tmp_path / "headrace.toml").write_text(SHARED.replace("INSTANCES", "1"))
    project = Project.load(tmp_path)
    with Namespace.open(project.data) as namespace:
        for line in ("instance-0", "instance-1"):
            record = PartRecord(namespace, "store", line, "rows")
            record.begin(f"rows/{line}.jsonl")
            record.folder.mkdir(parents=True)
            (record.folder / "a.part").write_bytes(b'{"id":1}\nnot committed')
            with namespace.transaction() as tx:
                record.save(tx, [_part(line)], 1)
        with run_of(project, ["store"]):
            assert not (tmp_path / "rows/instance-0.jsonl").exists()
            assert (tmp_path / "rows/instance-1.jsonl").read_bytes() == b'{"id":1}\n'


def _part(line):
    return Part(1, "rows", f"rows/{line}.jsonl", "a.part", Making().text(), 9, 1, 0, 0, closed=False)
