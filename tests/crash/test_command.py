"""The command of the crash test: a violation or a run without an end is told, and its folder stays."""

import json

import pytest

from headrace.clock import SystemClock
from headrace.testing import crash
from headrace.testing.checkers import Verdict
from headrace.testing.disturbance import Disturbance
from headrace.testing.fleet import Member
from headrace.testing.numbered import NumberedStream
from headrace.testing.pipeline import CrashTestError, Pipeline


@pytest.fixture
def pipeline(tmp_path):
    with Pipeline(tmp_path / "run", [NumberedStream("a", 10)], SystemClock(), 0.2) as pipeline:
        yield pipeline


def outcome(pipeline, *findings):
    disturbance = Disturbance(pipeline, 10, 7, SystemClock())
    return crash.Outcome(7, Verdict(10, 20, len(findings), 0, 0, list(findings)), disturbance, 1.5)


def test_a_violation_exits_with_1_and_keeps_the_folder(pipeline, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(crash, "crash_test", lambda folder, **_: outcome(pipeline, "C1 an event is lost"))
    assert crash.main(["--seed", "7", "--folder", str(tmp_path / "kept")]) == 1
    said = capsys.readouterr()
    assert "C1 an event is lost" in said.out
    assert "seed 7" in said.out
    assert "FAILED" in said.out
    assert str(tmp_path / "kept") in said.err


def test_no_violation_exits_with_0_and_the_report_has_its_denominators(pipeline, monkeypatch, capsys):
    monkeypatch.setattr(crash, "crash_test", lambda folder, **_: outcome(pipeline))
    assert crash.main([]) == 0
    said = capsys.readouterr().out
    assert "0 lost of 10 events" in said
    assert "0 doubled and 0 differing of 20 rows" in said
    assert crash.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_a_run_that_comes_to_no_end_exits_with_1(tmp_path, monkeypatch, capsys):
    def hangs(folder, **_):
        raise CrashTestError("not at its end after 5 s")

    monkeypatch.setattr(crash, "crash_test", hangs)
    assert crash.main(["--folder", str(tmp_path / "kept")]) == 1
    assert "not at its end after 5 s" in capsys.readouterr().err


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        crash.main(["--folder", str(tmp_path)])
    assert ended.value.code == 2


def test_a_hang_fails_with_the_state_of_every_process(pipeline):
    with pytest.raises(CrashTestError, match=r"not at its end after 0\.2 s\n  publisher-a: not started"):
        pipeline.wait_until(lambda: False)


def test_an_end_that_nobody_asked_for_is_a_violation(pipeline, tmp_path):
    member = Member("pass-0", "pass", ["/bin/sh", "-c", "echo broken; exit 3"], tmp_path / "log")
    pipeline.fleet.members[:] = [member]
    pipeline.fleet.start(member)
    member.process.wait()
    disturbance = Disturbance(pipeline, 10, 7, SystemClock())
    disturbance._replace_dead()
    assert disturbance.unexpected == ["pass-0 ended with exit code 3: broken"]
    assert disturbance.kills == 0
