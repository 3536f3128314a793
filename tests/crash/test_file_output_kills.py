"""Jobs that write files are killed at every step, and their files are those of an undisturbed run."""

import io
import json
import os
import signal
import subprocess
from collections import Counter

import polars as pl
import pytest
import zstandard

from headrace.connect.file_making import Making
from headrace.faults import POINTS
from headrace.local.namespace import Namespace
from headrace.local.parts import PartRecord
from headrace.local.progress import Progress
from tests.crash.processes import TIMEOUT_S, Sandbox

EVENTS = 3000

#: Outputs by name: each in a format of its own.
OUTPUTS = {
    "lines": 'path = "lines.jsonl"',
    "table": 'path = "table.csv"',
    "packed": 'path = "packed-{kind}.jsonl.zst"\nmax_rows = 400',
    "whole": 'path = "whole/{kind}/rows.parquet"\nmax_rows = 700',
}

SETTINGS = """
[inputs.events]
kind = "hub"
partitions = 1
[jobs.copy]
sql = '''
{sql}
'''
"""

#: Where the instance dies, and at which passage; one that is passed less often ends by itself.
KILLS = [(point, hit) for point in POINTS if point.startswith(("file.", "job.")) for hit in (1, 2, 5)]


def project(folder):
    folder.mkdir()
    sandbox = Sandbox(folder)
    sql = ";\n".join(f"SELECT id, kind, text INTO {name} FROM events" for name in OUTPUTS)
    outputs = "".join(f'[outputs.{name}]\nkind = "file"\n{more}\n' for name, more in OUTPUTS.items())
    sandbox.write(headrace__toml=SETTINGS.format(sql=sql) + outputs)
    return sandbox


def publish(sandbox, first, behind):
    bodies = [
        json.dumps({"id": n, "kind": n % 3, "text": f"é {n}" if n % 5 else None}).encode()
        for n in range(first, behind)
    ]
    sandbox.publish("events", bodies)


def instance(sandbox, point="", hit=1):
    """Run one instance to the end of its input, or to its death; returns its exit code."""
    with Namespace.open(sandbox.data) as namespace:
        Progress(namespace).request_stop("copy", "end")
    ended = subprocess.run(
        sandbox.command("run", "copy", "--instance", "0"),
        env={**os.environ, "HEADRACE_CRASH_AT": f"{point}:{hit}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode


def contents(sandbox):
    """Return how often each row is in the files of each output, and that nothing half-made is there."""
    found = {name: Counter() for name in OUTPUTS}
    for path in sandbox.folder.rglob("*"):
        if not path.is_file() or sandbox.data in path.parents or path.name == "headrace.toml":
            continue
        name = path.relative_to(sandbox.folder).parts[0].split(".")[0].split("-")[0]
        found[name].update(rows(path))
    parts = [path for path in sandbox.data.glob("parts/**/*") if path.is_file()]
    return found, parts


def rows(path):
    if path.suffix == ".parquet":
        return pl.read_parquet(path).rows()
    if path.suffix == ".csv":
        return pl.read_csv(path, schema_overrides={"text": pl.String}).rows()
    text = path.read_bytes()
    if path.suffix == ".zst":
        text = zstandard.ZstdDecompressor().stream_reader(text).read()
    return [tuple(json.loads(line).values()) for line in text.splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    sandbox = project(tmp_path_factory.mktemp("undisturbed") / "project")
    publish(sandbox, 0, EVENTS)
    assert instance(sandbox) == 0
    found, parts = contents(sandbox)
    assert parts == []
    assert {name: rows.total() for name, rows in found.items()} == dict.fromkeys(OUTPUTS, EVENTS)
    return found


def test_a_job_that_dies_at_every_step_writes_each_row_once(tmp_path, undisturbed):
    sandbox = project(tmp_path / "project")
    deaths = Counter()
    share = EVENTS // len(KILLS)
    for number, (point, hit) in enumerate(KILLS):
        publish(sandbox, number * share, EVENTS if number == len(KILLS) - 1 else (number + 1) * share)
        if instance(sandbox, point, hit) != 0:
            deaths[point] += 1
    assert instance(sandbox) == 0
    # The hub is read by one partition, and nothing is delivered.
    assert {point for point, _ in KILLS} - set(deaths) <= {"job.deliver.after_send"}
    found, parts = contents(sandbox)
    assert found == undisturbed
    assert parts == []
    assert [path for path in sandbox.folder.rglob("*.tmp") if path.name.startswith(".")] == []


@pytest.mark.parametrize("point", ["file.closed", "file.made", "file.placed", "file.part_removed"])
def test_a_file_that_was_closed_before_a_death_is_the_same_whoever_makes_it(tmp_path, point):
    sandbox = project(tmp_path / "project")
    publish(sandbox, 0, 2500)
    assert instance(sandbox, point) == -signal.SIGKILL
    closed = dict(closed_files(sandbox))
    assert len(closed) > 1
    assert instance(sandbox) == 0
    assert {path: path.read_bytes() for path in closed} == closed


def closed_files(sandbox):
    """Yield each file that is in its place, or is to be made of a closed part, with its content."""
    with Namespace.open(sandbox.data) as namespace:
        for name in OUTPUTS:
            record = PartRecord(namespace, "copy", "instance-0", name)
            for part in record.read():
                path = sandbox.folder / part.path
                if path.exists():
                    yield path, path.read_bytes()
                elif part.closed:
                    made = io.BytesIO()
                    Making.read(part.making).make(record.folder / part.name, part.size_bytes, made)
                    yield path, made.getvalue()
