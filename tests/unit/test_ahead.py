import signal
import subprocess
import sys

import pytest

from headrace.engine.ahead import Ahead, interrupts_held
from headrace.engine.instances import Command, Supervisor

WAITING = "import sys; from headrace.engine.ahead import may_run; sys.exit(0 if may_run() else 7)"


def arguments(script):
    return [sys.executable, "-c", script]


@pytest.fixture
def ahead():
    started = Ahead.start(arguments(WAITING))
    yield started
    started.close()


def test_a_process_that_was_started_ahead_goes_on_when_it_is_let(ahead):
    process = ahead.let_run()
    assert process.wait(30) == 0


def test_it_is_handed_over_once(ahead):
    process = ahead.let_run()
    assert ahead.let_run() is None
    ahead.close()
    assert process.wait(30) == 0


def test_it_may_not_run_once_the_pipe_has_closed_whoever_closed_it(ahead):
    ahead.process.stdin.close()
    assert ahead.process.wait(30) == 7


def test_closing_ends_what_was_never_let_run(ahead):
    process = ahead.process
    ahead.close()
    assert process.returncode != 0
    assert ahead.let_run() is None


def test_one_that_died_while_it_waited_is_handed_over_for_its_watcher_to_see():
    ahead = Ahead.start(arguments("import os; os.kill(os.getpid(), 9)"))
    ahead.process.wait(30)
    assert ahead.let_run().returncode == -9


def test_a_command_that_cannot_be_started_is_left_to_the_ordinary_start(tmp_path):
    ahead = Ahead.start([str(tmp_path / "missing")])
    assert ahead.let_run() is None
    ahead.close()


def test_a_supervisor_lets_the_process_run_that_was_started_for_its_first_command(ahead, tmp_path):
    marks = [tmp_path / "first", tmp_path / "second"]
    commands = [
        Command("job", number, arguments(f"import pathlib; pathlib.Path({str(mark)!r}).touch()"))
        for number, mark in enumerate(marks)
    ]
    supervisor = Supervisor(commands, ahead=ahead)
    supervisor.start()
    assert supervisor.wait() == 0
    assert [mark.exists() for mark in marks] == [False, True]


def test_when_the_process_started_ahead_dies_its_command_is_started(tmp_path):
    mark = tmp_path / "mark"
    ahead = Ahead.start(arguments("import os; os.kill(os.getpid(), 9)"))
    command = Command("job", 0, arguments(f"import pathlib; pathlib.Path({str(mark)!r}).touch()"))
    said = []
    supervisor = Supervisor([command], said.append, ahead=ahead)
    supervisor.start()
    assert supervisor.wait() == 0
    assert said == ["job, instance 0: killed by SIGKILL; starting it again"]
    assert mark.exists()


def test_the_verb_run_starts_an_instance_before_it_loads_what_takes_long():
    loaded = (
        "import sys, headrace.cli.run; print([m for m in ('polars', 'sqlglot', 'numpy', 'msgspec', 'apsw') "
        "if m in sys.modules])"
    )
    told = subprocess.run(arguments(loaded), capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"


INTERRUPTED_EARLY = """
import os, signal
os.kill(os.getpid(), signal.SIGINT)
from headrace.engine.ahead import ignore_interrupts
ignore_interrupts()
"""


def test_ctrl_c_does_not_break_off_what_an_instance_loads(tmp_path):
    ahead = Ahead.start(arguments(INTERRUPTED_EARLY))
    assert ahead.process.wait(30) == 0
    ahead.close()
    supervisor = Supervisor([Command("job", 0, arguments(INTERRUPTED_EARLY))])
    supervisor.start()
    assert supervisor.wait() == 0


def test_whoever_starts_processes_gets_what_came_meanwhile_behind_it():
    def interrupted():
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            subprocess.run([sys.executable, "-c", ""], check=True)
            went_on.append(True)

    went_on = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job may ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
    assert went_on
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
