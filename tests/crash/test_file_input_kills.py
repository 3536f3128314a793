"""A job that reads compressed CSV and Parquet is killed again and again, and each row is there once."""

import gzip
import io
import json
import os
import signal
import subprocess

import polars as pl

from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from tests.crash.processes import TIMEOUT_S, Sandbox

SETTINGS = """
[inputs.lines]
kind = "file"
path = "in/*"
[outputs.rows]
kind = "file"
path = "rows.jsonl"
[outputs.table]
kind = "table"
row_key = "n"
[jobs.job]
sql = "SELECT n INTO rows FROM lines; SELECT n INTO table FROM lines"
"""

ROWS = 20_000

#: Where the one instance is killed, start by start, and the how many-th time that it comes there.
KILLS = [
    ("job.commit.before", 1),
    ("job.commit.after", 2),
    ("job.staged", 2),
    ("job.commit.outputs_written", 3),
    ("job.commit.after", 1),
    ("job.commit.before", 4),
]


def test_compressed_csv_and_parquet_are_read_once_whatever_kills_the_reader(tmp_path):
    sandbox = Sandbox(tmp_path)
    sandbox.write(headrace__toml=SETTINGS)
    (tmp_path / "in").mkdir()
    lines = "".join(f"{n}\n" for n in range(ROWS))
    (tmp_path / "in" / "a.csv.gz").write_bytes(gzip.compress(b"n\n" + lines.encode()))
    content = io.BytesIO()
    pl.DataFrame({"n": range(ROWS, 2 * ROWS)}).write_parquet(content, row_group_size=1000)
    (tmp_path / "in" / "b.parquet").write_bytes(content.getvalue())

    deaths = [_instance(sandbox, f"{point}:{hit}") for point, hit in KILLS]
    assert deaths.count(-signal.SIGKILL) >= 4
    assert _instance(sandbox, "") == 0
    found = [int(json.loads(line)["n"]) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert found == list(range(2 * ROWS))
    assert sorted(map(int, sandbox.keys("table"))) == list(range(2 * ROWS))


def _instance(sandbox, death):
    """Run one instance to the end of its input, or to its death; returns its exit code."""
    with Namespace.open(sandbox.data) as namespace:
        Progress(namespace).request_stop("job", "end")
    ended = subprocess.run(
        sandbox.command("run", "job", "--instance", "0"),
        env={**os.environ, "HEADRACE_CRASH_AT": death},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode
