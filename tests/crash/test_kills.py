"""Fifty kills of publishers and instances lose nothing, double nothing and change no row of any table."""

import json
import subprocess
import sys

from headrace.testing.disturbance import POINTS

KILLS = 50
TIMEOUT_S = 300


def test_kills_at_any_moment_and_at_every_crash_point_lose_double_and_change_nothing(tmp_path):
    words = ["--kills", str(KILLS), "--seed", "1", "--folder", str(tmp_path / "crash"), "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "headrace.testing.crash", *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.stdout, ended.stderr
    outcome = json.loads(ended.stdout)
    assert outcome["findings"] == []
    assert (outcome["lost"], outcome["doubled"], outcome["differing"]) == (0, 0, 0)
    assert ended.returncode == 0
    # What did nothing would find nothing.
    assert outcome["events"] > 0
    assert outcome["kills"] >= KILLS
    assert outcome["power_cuts"] > 0
    assert [point for point in POINTS if not outcome["kills_by_point"][point]] == []
    assert all(outcome["kills_by_target"].get(target) for target in ("publisher", "pass", "classify"))
