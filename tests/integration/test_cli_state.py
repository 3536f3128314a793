"""`headrace run` on a job that keeps state: from run to run, another query, and letting go."""

import subprocess
import sys
import time

from headrace.project.sending import send

SETTINGS = '''
[inputs.events]
kind = "hub"
partitions = 1
[outputs.counts]
kind = "table"
row_key = "at"
[jobs.count]
sql = """
SELECT COUNT(*) AS n, System.Timestamp() AS at INTO counts FROM events GROUP BY TumblingWindow({unit}, 1)
"""
'''


def test_another_query_is_refused_with_what_to_do_and_goes_on_once_the_state_is_let_go(tmp_path):
    def run(*words):
        command = [
            sys.executable,
            "-m",
            "headrace.cli",
            "run",
            "--until-end",
            *words,
            "--project",
            str(tmp_path),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    settings = tmp_path / "headrace.toml"
    settings.write_text(SETTINGS.format(unit="day"))
    send("events", [{"n": 1}, {"n": 2}], project=tmp_path)
    assert run().returncode == 0
    settings.write_text(SETTINGS.format(unit="millisecond"))
    refused = run()
    assert refused.returncode == 2
    assert "`headrace run count --from now` goes on with new events only" in refused.stderr
    send("events", [{"n": 3}], project=tmp_path)
    time.sleep(0.01)  # by then its window is over
    gone_on = run("--from", "beginning", "count")
    assert gone_on.returncode == 0, gone_on.stderr
    assert "events in 3, rows out" in gone_on.stderr
