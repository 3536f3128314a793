"""Fifty kills of publishers and instances lose nothing, double nothing and change no row of any table."""

import json
import subprocess
import sys

import pytest

from headrace.faults import POINTS

KILLS = 50
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash")
    words = ["--kills", str(KILLS), "--seed", "1", "--folder", str(folder), "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "headrace.testing.crash", *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.stdout, ended.stderr
    return ended


def test_kills_at_any_moment_lose_double_and_change_nothing(ended):
    outcome = json.loads(ended.stdout)
    assert outcome["findings"] == []
    assert (outcome["lost"], outcome["doubled"], outcome["differing"]) == (0, 0, 0)
    assert outcome["events"] > 0
    assert outcome["kills"] >= KILLS
    assert ended.returncode == 0


def test_a_process_died_at_every_crash_point_and_of_every_kind(ended):
    outcome = json.loads(ended.stdout)
    assert [point for point in POINTS if not outcome["kills_by_point"][point]] == []
    assert all(outcome["kills_by_target"].get(target) for target in ("publisher", "pass", "classify"))
    assert outcome["power_cuts"] > 0
