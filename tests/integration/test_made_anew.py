"""A hub that was deleted and made anew is not taken for the one that a job has read."""

import json
import shutil

import pytest

from headrace.engine.starting import Start
from headrace.errors import Fatal, UserError
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.project import Project
from headrace.project.starting import start_jobs
from headrace.project.status import looking
from tests.integration import test_job_state as state
from tests.integration import test_repartition as repartition
from tests.integration.test_job import Bench

EVERY = "SELECT id INTO every FROM events"


def replaced(namespace, name="events"):
    """Put a hub of the same name in the place of one, and return where that one is."""
    files = [path for path in namespace.hubs_folder.glob(f"{name}.db*") if path.suffix != ".lock"]
    kept = namespace.folder / "kept"
    kept.mkdir()
    for file in files:
        file.rename(kept / file.name)
    return kept


def put_back(namespace, kept):
    for file in namespace.hubs_folder.glob("events.db*"):
        file.unlink()
    for file in kept.iterdir():
        file.rename(namespace.hubs_folder / file.name)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.namespace.close()


@pytest.fixture
def windows(tmp_path):
    bench = state.Bench(tmp_path)
    yield bench
    bench.namespace.close()


@pytest.fixture
def spread(tmp_path):
    bench = repartition.Bench(tmp_path)
    yield bench
    bench.close()


def ids(bench):
    return sorted(row["id"] for row in bench.rows("every").values())


def test_a_job_stops_at_a_hub_that_was_made_anew_and_goes_on_with_the_former_one(bench):
    bench.publish({"id": "a"})
    bench.run(EVERY)
    kept = replaced(bench.namespace)
    bench.publish({"id": "b"}, {"id": "c"})
    with pytest.raises(
        UserError, match=r"input 'events' is hub 'events', which is not what the job has read"
    ):
        bench.run(EVERY)
    assert ids(bench) == ["a"]
    put_back(bench.namespace, kept)
    bench.publish({"id": "d"})
    bench.run(EVERY)
    assert ids(bench) == ["a", "d"]


def test_under_another_name_of_the_input_it_is_read_from_the_beginning_and_rows_of_before_stay(bench):
    bench.publish({"id": "a"})
    bench.run(EVERY)
    replaced(bench.namespace)
    bench.publish({"id": "b"})
    with pytest.raises(UserError, match=r'another name in headrace.toml and the query, with hub = "events"'):
        bench.run(EVERY)
    settings = bench.folder / "headrace.toml"
    settings.write_text(settings.read_text() + '[inputs.again]\nkind = "hub"\nhub = "events"\n')
    bench.run("SELECT id INTO every FROM again")
    assert ids(bench) == ["a", "b"]


def test_a_start_from_the_beginning_reads_the_hub_that_is_there(bench):
    bench.publish({"id": "a"}, {"id": "b"})
    bench.run("SELECT id INTO rows FROM events")
    replaced(bench.namespace)
    bench.publish({"id": "c"})
    with pytest.raises(UserError, match="`headrace run job --from beginning`"):
        bench.run("SELECT id INTO rows FROM events")
    start_jobs(Project.load(bench.folder), bench.namespace, ["job"], Start.read("beginning"))
    bench.run("SELECT id INTO rows FROM events")
    assert set(bench.rows()) == {"a", "b", "c"}


def test_a_job_that_also_reads_a_queue_is_told_of_another_name_alone(bench):
    both = "SELECT id INTO every FROM events; SELECT id INTO rows FROM work"
    bench.publish({"id": "a"})
    bench.run(both)
    replaced(bench.namespace)
    bench.send({"id": "m"})
    with pytest.raises(UserError, match="another name") as caught:
        bench.run(both)
    assert "--from" not in str(caught.value)


def test_a_position_of_an_earlier_version_is_taken_as_it_is(bench):
    bench.publish({"id": "a"})
    bench.run(EVERY)
    with bench.namespace.transaction() as tx:
        tx.connection.execute("UPDATE position SET identity = ''")
    bench.publish({"id": "b"})
    bench.run(EVERY)
    assert ids(bench) == ["a", "b"]
    replaced(bench.namespace)
    with pytest.raises(UserError, match="made anew"):
        bench.run(EVERY)


def test_settings_that_name_another_hub_for_an_input_are_noticed_too(bench):
    bench.publish({"id": "a"})
    bench.run(EVERY)
    settings = bench.folder / "headrace.toml"
    settings.write_text(settings.read_text().replace('kind = "hub"\n', 'kind = "hub"\nhub = "other"\n', 1))
    with pytest.raises(UserError, match=r"input 'events' is hub 'other'.*or the settings named another one"):
        bench.run(EVERY)


def test_what_waits_of_a_hub_that_was_made_anew_is_all_of_it(bench):
    bench.publish({"id": "a"}, {"id": "b"})
    bench.run(EVERY)
    replaced(bench.namespace)
    bench.publish({"id": "c"})
    with looking(Project.load(bench.folder), ["job"]) as look:
        assert look.look()[0].waiting() == {"events": 1}


def test_a_hub_that_is_replaced_under_a_running_job_ends_it_with_nothing_of_the_new_one_read(windows):
    windows.publish(1)
    windows.run(state.COUNTS)
    kept = []

    def wanted():
        if not kept:
            kept.append(replaced(windows.namespace))
            windows.publish(2, 15, 30)
        return True

    with pytest.raises(Fatal, match=r"events\.db was moved or removed while it was in use"):
        windows.run(state.COUNTS, wanted=wanted)
    with pytest.raises(UserError, match="let the job start elsewhere: `headrace run job --from beginning`"):
        windows.run(state.COUNTS)
    put_back(windows.namespace, kept[0])
    windows.publish(2, 15)
    windows.run_for(state.COUNTS, 60)
    assert windows.counts() == {state.at(10): 2, state.at(20): 1}


def test_state_is_not_rebuilt_from_a_hub_that_was_made_anew(windows):
    windows.publish(1, 2)
    windows.run(state.COUNTS)
    with windows.namespace.transaction() as tx:  # as if it had died before it saved what it kept
        tx.connection.execute("UPDATE task_state SET epoch = 0")
    replaced(windows.namespace)
    windows.publish(3, 4, 5)
    with pytest.raises(UserError, match="made anew"):
        windows.run(state.COUNTS)
    start_jobs(Project.load(windows.folder), windows.namespace, ["job"], Start.read("beginning"))
    windows.run_for(state.COUNTS, 60)
    assert windows.counts() == {state.at(10): 3}


def test_both_stages_stop_where_the_hub_between_them_was_removed_and_nothing_is_passed_on(spread):
    repartition.click(spread, 1, 2, 12)
    spread.run_to_end()
    namespace = spread.namespace
    exchanges, kept = namespace.exchanges_folder, namespace.folder / "kept"
    exchanges.rename(kept)
    repartition.click(spread, 14, 25)
    for job in ("spread~clicks", "spread"):
        with pytest.raises(UserError, match="the hub between its stages for input 'clicks' is not the one"):
            spread.run(job)
    shutil.rmtree(exchanges)
    kept.rename(exchanges)
    spread.finish()
    assert spread.rows("spread") == spread.rows("one") != []


def test_a_first_stage_stops_at_an_input_that_was_made_anew(spread):
    repartition.click(spread, 1)
    spread.run_to_end()
    spread.hubs["clicks"].close()
    replaced(spread.namespace, "clicks")
    spread.hubs["clicks"] = Hub.ensure(spread.namespace.hubs_folder, "clicks", partitions=3)
    with pytest.raises(UserError, match="job 'spread' cannot go on: input 'clicks' is hub 'clicks'"):
        spread.run("spread~clicks")
    repartition.start(spread, "spread", "beginning")
    spread.run("spread~clicks")


def test_a_namespace_of_the_format_before_says_nothing_of_what_positions_were_taken_in(bench):
    bench.publish({"id": "a"})
    bench.run(EVERY)
    with bench.namespace.transaction() as tx:
        tx.connection.execute("ALTER TABLE position DROP COLUMN identity")
        tx.connection.pragma("user_version", 4)
    bench.publish({"id": "b"})
    with Namespace.open(bench.namespace.folder) as upgraded, upgraded.reading() as connection:
        assert json.loads(connection.execute("SELECT json_group_array(identity) FROM position").get) == [""]
    bench.run(EVERY)
    assert ids(bench) == ["a", "b"]
