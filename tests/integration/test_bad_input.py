"""Events that cannot be read: set aside, dropped, or so many that the job stops and loses nothing."""

import pytest

from headrace.errors import DataError, UserError
from headrace.project import Project
from tests.integration.test_job import Bench

QUERY = "SELECT id INTO rows FROM events"
BAD = b"{bad"


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.namespace.close()


def with_settings(bench, text):
    with (bench.folder / "headrace.toml").open("a") as file:
        file.write(text + "\n")


def good(first, count):
    return [{"id": f"{number:04}"} for number in range(first, first + count)]


def test_bad_events_that_are_dropped_are_counted_and_leave_no_letter(bench):
    with_settings(bench, 'on_bad = "drop"')
    bench.publish(BAD, *good(0, 3), BAD)
    bench.run(QUERY)
    assert len(bench.rows()) == 3
    assert bench.dead() == []
    assert bench.progress.counts("job") == {"events_in": 5, "rows_out": 3, "dead": 0, "dropped": 2}


def test_an_event_that_a_function_fails_on_is_never_dropped(bench):
    with_settings(bench, 'on_bad = "drop"')
    bench.publish({"id": "a", "n": 13})
    bench.run("SELECT id, double(n) AS n INTO rows FROM events")
    assert len(bench.dead()) == 1


def test_a_bad_event_stops_the_job_where_its_input_says_so_and_is_met_again(bench):
    with_settings(bench, 'on_bad = { events = "stop" }')
    bench.publish(*good(0, 3), BAD)
    for _ in range(2):
        with pytest.raises(DataError, match=r"(?s)not JSON.*stopped at input 'events'.*bad"):
            bench.run(QUERY)
    assert bench.dead() == []
    with_settings(bench, "")
    text = (bench.folder / "headrace.toml").read_text()
    (bench.folder / "headrace.toml").write_text(text.replace('events = "stop"', 'work = "stop"'))
    bench.run(QUERY)
    assert (len(bench.rows()), len(bench.dead())) == (3, 1)


def test_too_large_a_share_of_bad_events_stops_the_job_at_each_start_until_it_is_allowed(bench):
    with_settings(bench, "max_bad_share = 0.25\nmin_bad = 20")
    bench.publish(*good(0, 100))
    bench.run(QUERY)
    bench.publish(*([BAD] * 80))
    for _ in range(5):  # a restart must not creep on, a small batch at a time
        with pytest.raises(
            DataError, match=r"of the last .* events of input 'events' are bad.*max_bad_share"
        ):
            bench.run(QUERY)
    assert len(bench.dead()) <= 0.25 * (100 + len(bench.dead()))
    text = (bench.folder / "headrace.toml").read_text()
    (bench.folder / "headrace.toml").write_text(text.replace("0.25", "0.9"))
    bench.run(QUERY)
    assert (len(bench.rows()), len(bench.dead())) == (100, 80)


def test_a_few_bad_events_never_stop_a_job_and_events_that_a_function_fails_on_count(bench):
    with_settings(bench, "max_bad_share = 0.0\nmin_bad = 3")
    bench.publish(BAD, {"id": "a", "n": 13})
    bench.run("SELECT id, double(n) AS n INTO rows FROM events")
    assert len(bench.dead()) == 2
    bench.publish({"id": "b", "n": 13})
    with pytest.raises(DataError, match="3 of the last 3 events"):
        bench.run("SELECT id, double(n) AS n INTO rows FROM events")


def test_a_job_with_state_stops_for_its_share_too(bench):
    with_settings(bench, "max_bad_share = 0.5\nmin_bad = 2")
    bench.publish(BAD, BAD, BAD)
    with pytest.raises(DataError, match="are bad"):
        bench.run("SELECT count(*) AS n INTO every FROM events GROUP BY TumblingWindow(second, 1)")
    assert bench.dead() == []


@pytest.mark.parametrize("text", ["max_bad_share = 1.0", "min_bad = 0", 'on_bad = "ignore"'])
def test_settings_that_mean_nothing_are_refused(bench, text):
    with_settings(bench, text)
    with pytest.raises(UserError, match=r"jobs\.job"):
        Project.load(bench.folder)
