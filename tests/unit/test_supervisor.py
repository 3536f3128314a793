import errno
import signal
import subprocess
import sys
import time

import pytest

from headrace.clock import ManualClock
from headrace.engine.instances import FIRST_PAUSE_S, Command, Supervisor


class SubprocessClock(ManualClock):
    """Time moves by hand, and a wait gives real processes a moment."""

    def sleep(self, seconds):
        super().sleep(seconds)
        time.sleep(0.002)


def command(script, job="job", instance=0):
    return Command(job, instance, [sys.executable, "-S", "-c", script])


@pytest.fixture
def clock():
    return SubprocessClock()


def test_an_instance_that_ends_well_is_done(clock):
    supervisor = Supervisor([command("pass")], clock=clock)
    supervisor.start()
    assert supervisor.wait() == 0
    assert supervisor.ended("job")


def test_an_instance_that_is_killed_is_started_again_at_once(tmp_path, clock):
    mark = tmp_path / "mark"
    script = (
        f"import os, pathlib; m = pathlib.Path({str(mark)!r})\n"
        "if not m.exists(): m.touch(); os.kill(os.getpid(), 9)"
    )
    said = []
    supervisor = Supervisor([command(script)], say=said.append, clock=clock)
    supervisor.start()
    assert supervisor.wait() == 0
    assert said == ["job, instance 0: killed by SIGKILL; starting it again"]


def test_the_second_death_in_a_row_is_followed_by_a_pause(tmp_path, clock):
    marks = tmp_path / "marks"
    script = (
        f"import os; f = open({str(marks)!r}, 'a+'); f.write('x'); f.flush(); f.seek(0)\n"
        "if len(f.read()) < 3: os.kill(os.getpid(), 9)"
    )
    said = []
    supervisor = Supervisor([command(script)], say=said.append, clock=clock)
    supervisor.start()
    assert supervisor.wait() == 0
    assert said[1].endswith(f"starting it again in {FIRST_PAUSE_S:g} s")


def test_pauses_grow_while_something_outside_is_down(tmp_path, clock):
    marks = tmp_path / "marks"
    script = (
        f"f = open({str(marks)!r}, 'a+'); f.write('x'); f.flush(); f.seek(0)\n"
        "raise SystemExit(3 if len(f.read()) < 5 else 0)"
    )
    said = []
    supervisor = Supervisor([command(script)], say=said.append, clock=clock)
    supervisor.start()
    assert supervisor.wait() == 0
    pauses = [line.partition("starting it again")[2] for line in said]
    assert pauses == ["", " in 0.5 s", " in 1 s", " in 2 s"]


def test_an_instance_that_cannot_be_started_for_now_is_tried_again(clock, monkeypatch):
    refusals = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.EAGAIN, "Try again")]
    popen = subprocess.Popen

    def start(*arguments, **options):
        if refusals:
            raise refusals.pop(0)
        return popen(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    said = []
    supervisor = Supervisor([command("pass")], say=said.append, clock=clock)
    supervisor.start()
    assert supervisor.wait() == 0
    assert said == [
        "job, instance 0: not started (Too many open files); starting it again",
        f"job, instance 0: not started (Try again); starting it again in {FIRST_PAUSE_S:g} s",
    ]


def test_pauses_stay_short_after_kills_so_that_an_event_that_kills_is_soon_found(tmp_path, clock):
    marks = tmp_path / "marks"
    script = (
        f"import os; f = open({str(marks)!r}, 'a+'); f.write('x'); f.flush(); f.seek(0)\n"
        "if len(f.read()) < 6: os.kill(os.getpid(), 9)"
    )
    said = []
    supervisor = Supervisor([command(script)], say=said.append, clock=clock)
    supervisor.start()
    assert supervisor.wait() == 0
    assert all(line.endswith("starting it again in 0.5 s") for line in said[1:])


def test_a_mistake_that_only_a_person_can_mend_stops_the_job_and_its_other_instances(clock):
    wait = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); signal.pause()"
    supervisor = Supervisor([command("raise SystemExit(2)"), command(wait, instance=1)], clock=clock)
    supervisor.start()
    assert supervisor.wait() == 2


def test_stopping_asks_every_instance_and_does_not_start_any_again(clock):
    supervisor = Supervisor([command("import signal; signal.pause()")], clock=clock)
    supervisor.start()
    supervisor.stop()
    assert supervisor.wait() == 0


def test_killing_ends_everything_at_once(clock):
    supervisor = Supervisor(
        [command(f"import signal; signal.signal({int(signal.SIGTERM)}, signal.SIG_IGN); signal.pause()")],
        clock=clock,
    )
    supervisor.start()
    supervisor.kill()
    assert supervisor.wait() == 0


def test_whoever_asks_is_told_of_each_process_that_did_not_end_well(clock):
    told = []
    scripts = ["import os; os.kill(os.getpid(), 9)", "import sys; sys.exit(2)", "pass"]
    commands = [command(script, f"job{number}") for number, script in enumerate(scripts)]
    supervisor = Supervisor(commands, died=lambda *given: told.append(given), clock=clock)
    supervisor.start()
    while not (supervisor.ended("job1") and supervisor.ended("job2") and told[1:]):
        supervisor.watch()
        clock.sleep(0)
    supervisor.kill()
    reasons = {(one.job, pid > 0, reason) for one, pid, reason in told}
    assert reasons == {("job0", True, "killed by SIGKILL"), ("job1", True, "exit code 2")}


def test_one_that_is_asked_to_end_while_it_loads_its_code_has_not_failed(clock):
    told = []
    supervisor = Supervisor(
        [command("import signal; signal.pause()")], died=lambda *given: told.append(given), clock=clock
    )
    supervisor.start()
    supervisor.stop()
    assert supervisor.wait() == 0
    assert told == []
