"""The kill campaign's oracle and checkers: what must come out does, and each planted fault is reported."""

import copy
import json
import signal
import subprocess
import sys
from collections import Counter

import pytest

import headrace as hr
from headrace.clock import ManualClock, SystemClock
from headrace.testing.campaign import __main__ as command
from headrace.testing.campaign.cells import campaign
from headrace.testing.campaign.checking import JobVerdict, Observed, Verdict, check, published
from headrace.testing.campaign.events import LABELS, READINGS, Reading, Timeline
from headrace.testing.campaign.jobs import GRADING, JOBS
from headrace.testing.campaign.processes import drop_locks, instances_of, is_alive
from headrace.testing.campaign.report import Cell, Report, quantile
from headrace.testing.campaign.run import Run
from headrace.testing.campaign.tally import Ends, Tally
from headrace.testing.campaign.watching import Watch
from headrace.testing.pipeline import CrashTestError

COUNT = 1_600
TIMELINE = Timeline.before(ManualClock().now_us())
OUTPUTS = [output.name for job in JOBS.values() for output in job.outputs]


@pytest.fixture(scope="module")
def flawless():
    """What a flawless run leaves behind, without the engine."""
    jobs = JOBS.values()
    inputs = {hub: list(published(hub, COUNT, TIMELINE)) for hub in (READINGS, LABELS)}
    ends = {(hub, partition): len(inputs[hub]) // 4 for hub in inputs for partition in range(4)}
    rows = {job.name: list(job.expected(COUNT, TIMELINE)) for job in jobs}
    return Observed(
        published=inputs,
        rows={output.name: list(rows[job.name]) for job in jobs for output in job.outputs},
        positions={job.name: {p: end for p, end in ends.items() if p[0] in job.inputs} for job in jobs},
        ends=ends,
        counts={
            job.name: {
                "events_in": sum(len(inputs[hub]) for hub in job.inputs),
                "rows_out": len(rows[job.name]) * len(job.outputs),
                "dead": 0,
            }
            for job in jobs
        },
        dead_letters=[],
        outbox=0,
    )


@pytest.fixture
def observed(flawless):
    return copy.deepcopy(flawless)


def checked(observed, undisturbed):
    return check(observed, undisturbed, list(JOBS.values()), COUNT, TIMELINE)


def counts(verdict):
    return Counter(
        lost=sum(job.lost for job in verdict.jobs),
        doubled=sum(job.doubled for job in verdict.jobs),
        differing=sum(job.differing for job in verdict.jobs),
    )


# --- the oracle -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", JOBS)
def test_what_must_come_out_of_a_job_is_what_its_query_gives(name):
    job, functions = JOBS[name], {}
    exec(GRADING, functions)
    inputs = {hub: [json.loads(b) for b in published(hub, COUNT, TIMELINE)] for hub in job.inputs}
    found = hr.query(job.sql, inputs, functions={"grade": functions["grade"]})
    wanted = Counter(json.dumps(row, sort_keys=True) for row in job.expected(COUNT, TIMELINE))
    sentinels = ("end", "end of readings")
    for output in job.outputs:
        rows = [row for row in found[output.name] if row[output.key[0]] not in sentinels]
        for row in rows:
            if "at" in row:
                row["at"] = row["at"].strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
        assert Counter(json.dumps(row, sort_keys=True) for row in rows) == wanted


def test_event_time_never_stands_still_and_sessions_and_joins_have_both_ends():
    readings = [Reading(n) for n in range(COUNT)]
    times = [reading.at_ms for reading in readings]
    labels = [r.at_ms + 1000 * r.label_delay_s for r in readings if r.labelled]
    assert times == sorted(set(times))
    assert labels == sorted(set(labels))
    joined = Counter(row["label"] is None for row in JOBS["join"].expected(COUNT, TIMELINE))
    assert min(joined[True], joined[False]) > 20
    sessions = Counter(row["sensor"] for row in JOBS["session"].expected(COUNT, TIMELINE))
    assert min(sessions.values()) > 2


# --- the checkers -----------------------------------------------------------------------------------------


def test_a_flawless_run_is_found_flawless_with_its_denominators(observed, flawless):
    verdict = checked(observed, flawless)
    assert verdict.findings == []
    assert counts(verdict).total() == 0
    assert [job.accepted for job in verdict.jobs] == [
        COUNT + 4 + (COUNT // 8 + 4) * (job.name == "join") for job in JOBS.values()
    ]
    assert all(job.rows > 0 for job in verdict.jobs)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_dropped_row_is_lost(output, observed, flawless):
    del observed.rows[output][5]
    verdict = checked(observed, flawless)
    assert counts(verdict)["lost"] == 1
    assert any(f.startswith("C1") and f"'{output}'" in f for f in verdict.findings)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_row_that_stands_there_twice_is_doubled(output, observed, flawless):
    observed.rows[output].append(observed.rows[output][5])
    verdict = checked(observed, flawless)
    assert counts(verdict)["doubled"] == 1
    assert any(f.startswith("C2") and f"'{output}'" in f for f in verdict.findings)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("change", [lambda v: v + 1, float, str], ids=["a count", "a float", "a text"])
def test_a_value_that_is_another_or_of_another_type_is_reported(output, change, observed, flawless):
    row = dict(observed.rows[output][5])
    column = next(name for name in ("events", "checksum", "n") if name in row)
    observed.rows[output][5] = row | {column: change(row[column])}
    verdict = checked(observed, flawless)
    assert counts(verdict)["differing"] > 0
    assert any("not what the query makes" in f and f"'{output}'" in f for f in verdict.findings)


def test_a_run_that_differs_only_from_the_undisturbed_one_is_reported(observed, flawless):
    del observed.rows["counts"][0]
    [finding] = [f for f in checked(flawless, observed).findings if "'counts'" in f]
    assert "not as in the undisturbed run" in finding


@pytest.mark.parametrize("hub", [READINGS, LABELS])
def test_an_event_published_twice_or_not_at_all_is_reported(hub, observed, flawless):
    observed.published[hub][3] = observed.published[hub][4]
    findings = checked(observed, flawless).findings
    assert any(f.startswith("C1 1 events are lost from") for f in findings)
    assert any(f.startswith("C2 1 events are too many in") for f in findings)


def test_what_a_job_says_of_itself_must_agree(observed, flawless):
    observed.counts["session"]["events_in"] += 1
    assert [f[:17] for f in checked(observed, flawless).findings] == ["C2 job 'session' "]


def test_positions_before_the_end_dead_letters_and_a_full_outbox_are_reported(observed, flawless):
    observed.positions["model"][READINGS, 2] -= 1
    observed.dead_letters.append("job model, readings 0/7: it kills")
    observed.outbox = 2
    findings = checked(observed, flawless).findings
    assert [f[:2] for f in findings] == ["C3", "C1", "C1"]
    assert "it kills" in findings[1]


# --- what is seen while it runs ---------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    with Run(tmp_path / "run", [JOBS["model"]], 1, TIMELINE, SystemClock(), 1, 0.2) as run:
        yield run


def test_a_position_that_goes_back_is_reported_and_a_job_is_back_with_new_commits_everywhere(
    run, monkeypatch
):
    clock = ManualClock()
    watch = Watch(run, clock)
    positions = {}
    monkeypatch.setattr(watch.__class__, "_read", lambda _: dict(positions))
    monkeypatch.setattr(watch.__class__, "ends", lambda _: {(READINGS, 0): 10, (READINGS, 1): 20})
    watch.struck(["model"], "instance")
    for offsets, back in (((9, 30), False), ((10, 30), False), ((11, 30), True)):
        positions.update({("model", f"t{p}", READINGS, p): offset for p, offset in enumerate(offsets)})
        clock.sleep(2)
        watch.look()
        assert watch.is_back("model") is back
    assert watch.recoveries_s == {"instance": [6.0]}
    assert watch.findings == []
    positions["model", "t1", READINGS, 1] = 29
    watch.look()
    assert watch.findings == ["C3 position of model/t1/readings/1 went from 30 to 29"]


def test_deaths_other_starts_and_what_nobody_asked_for_are_told_from_each_other(run):
    member, tally = run.supervisors["model"], Tally()
    member.armed = "job.after_read"
    ends = Ends(run, tally)
    lines = [
        "headrace: model, instance 0: killed by SIGKILL; starting it again",
        "headrace: model, instance 0: exit code 3; starting it again in 0.5 s",
    ]
    member.log.write_text("\n".join(lines) + "\nheadrace: model, inst")
    ends.note()
    assert (tally.killed, tally.tried_again, tally.unexpected) == (1, 1, [])
    with member.log.open("a") as log:
        log.write("ance 0: killed by SIGABRT; starting it again\nTraceback (most recent call last):\n")
    ends.note()
    assert tally.unexpected == [
        "an instance of model ended: SIGABRT",
        "job model says: Traceback (most recent call last):",
    ]


def test_an_end_that_nobody_asked_for_ends_the_campaign(run):
    member = run.supervisors["model"]
    member.arguments = ["/bin/sh", "-c", "echo broken; exit 2"]
    run.fleet.start(member)
    member.process.wait()
    with pytest.raises(CrashTestError, match="model ended with exit code 2: broken"):
        Ends(run, Tally()).note()


def test_instances_are_found_below_their_supervisor_and_killed_with_it(run):
    member = run.supervisors["model"]
    sleeper = f"{sys.executable} -c 'import time; time.sleep(60)' --instance 4"
    member.arguments = ["/bin/sh", "-c", f"{sleeper} & sleep 60 & wait"]
    run.fleet.start(member)
    run.wait_until(lambda: run.children("model"), "the instance", 10)
    [child] = instances_of(member.process.pid)
    assert child.instance == 4
    assert run.kill_tree("model") == [child]
    run.wait_until(lambda: not is_alive(child.pid), "the instance to die", 10)
    assert member.exit_code == -signal.SIGKILL


def test_only_the_locks_of_the_paused_process_are_taken_away(tmp_path):
    for name, note in (("a", "process 12 (one)"), ("b", "process 123 (two)"), ("c", "")):
        (tmp_path / f"{name}.lock").write_text(note)
    assert drop_locks(tmp_path, 12) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.lock", "c.lock"]


# --- the report and the command ---------------------------------------------------------------------------


def report(*findings):
    tally = Tally(Counter(instance=9), Counter({("job.after_read", 2): 3}), woken=4, refused=4)
    verdict = Verdict([JobVerdict("model", 1_000, 990)], list(findings))
    cell = Cell(3, 996, tally, verdict, {"instance": [0.5, 1.5]}, Counter(well=7), 12.0)
    return Report(7, [cell], tally.points, list(findings))


def test_every_zero_has_its_denominator():
    text = "\n".join(report().lines())
    assert "9 kills, seed 7" in text
    assert "zombies: 4 refused of 4 woken" in text
    assert [line.split() for line in text.splitlines() if line.startswith("  model")] == [
        ["model", "1,000", "990", "0", "0", "0"]
    ]
    assert "   0    3    0  job.after_read" in text
    assert text.endswith("passed")


def test_the_exit_code_says_whether_anything_was_found_and_the_folder_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "campaign", lambda *_, **__: report("C1 a row is lost"))
    assert command.main(["--folder", str(tmp_path / "kept")]) == 1
    said = capsys.readouterr()
    assert "C1 a row is lost" in said.out
    assert "FAILED" in said.out
    assert "kept" in said.err
    monkeypatch.setattr(command, "campaign", lambda *_, **__: report())
    assert command.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_a_run_that_comes_to_no_end_and_a_job_that_is_none_are_told(tmp_path, monkeypatch, capsys):
    def hangs(*_, **__):
        raise CrashTestError("a job is not back")

    monkeypatch.setattr(command, "campaign", hangs)
    assert command.main(["--seed", "3", "--folder", str(tmp_path / "kept")]) == 1
    assert "kill campaign, seed 3: a job is not back" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["--jobs", "tumblin"])
    assert "Did you mean 'tumbling'?" in capsys.readouterr().err


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_quantiles_are_values_that_occurred(share, value):
    assert quantile(range(1, 101), share) == value
    assert quantile([], share) == 0
    assert quantile([7], share) == 7


def test_a_small_campaign_runs_through(tmp_path):
    outcome = campaign(
        tmp_path, [JOBS["tumbling"]], [1], kills=1, seed=2, rate=400, say=lambda _: None
    ).document()
    assert outcome["findings"] == []
    assert outcome["kills"] >= 1
    [cell] = outcome["cells"]
    [job] = cell["jobs"]
    assert job["accepted"] > 0
    assert job["rows"] > 0
    assert (job["lost"], job["doubled"], job["differing"]) == (0, 0, 0)
    assert cell["recovery_s"]["of"] > 0


def test_the_command_is_there():
    ended = subprocess.run(
        [sys.executable, "-m", "headrace.testing.campaign", "--help"], capture_output=True, check=True
    )
    assert b"--kills" in ended.stdout
