"""`headrace tags list | read | stats | export | plot | compact`, as a user types them."""

import json
import re

import numpy as np
import polars as pl
import pytest

from headrace.cli.tags_plot import _whole_times
from headrace.clock import SystemClock
from headrace.local.dead_letters import DeadLetter, DeadLetters
from headrace.local.namespace import Namespace
from tests.integration.command import Commands

pytest.importorskip("pyarrow")

import headrace as hr
from headrace.series.points import Points, guid_text
from headrace.series.segments import segment_name, write_segment
from headrace.series.store import Store

TAGS = 3
GUIDS = [bytes([number + 1] * 16) for number in range(TAGS)]
FIRST, SECOND, THIRD = map(guid_text, GUIDS)
SETTINGS = """
[outputs.history]
kind = "series"
"""
BEGIN_US = 1_777_636_800_000_000  # 2026-05-01T12:00Z


@pytest.fixture
def project(tmp_path, capsys):
    commands = Commands(tmp_path, capsys, SETTINGS)
    with Namespace.open(tmp_path / ".headrace") as namespace:
        store = Store(namespace, "history", tmp_path / "history")
        for number in range(3):
            _store(store, "acme", number)
        store.close()
    return commands


def _store(store, tenant, number):
    tenant_id = store.catalogue.tenant(tenant)
    store.catalogue.codes(tenant_id, GUIDS)
    steps = np.arange(number * 100, number * 100 + 100)
    codes = np.repeat(np.arange(TAGS, dtype=np.uint32), 100)
    values = np.concatenate([np.round(np.sin(steps / 20 + tag), 2) for tag in range(TAGS)])
    points = Points(codes, BEGIN_US + np.tile(steps, TAGS) * 1_000_000, values)
    segment = write_segment(store.folder(tenant), segment_name("line", [str(number)]), points)
    with store.namespace.transaction() as tx:
        store.catalogue.add(tx, tenant_id, segment)


def _second_tenant(project):
    with Namespace.open(project.folder / ".headrace") as namespace:
        store = Store(namespace, "history", project.folder / "history")
        _store(store, "zeta", 9)
        store.close()


def _tags(project, *words):
    return project("tags", *words)


def test_tags_are_listed_by_pattern_and_with_their_last_values(project):
    assert _tags(project, "list").out.split() == [FIRST, SECOND, THIRD]
    assert _tags(project, "list", "--like", "02*").out.split() == [SECOND]
    assert json.loads(_tags(project, "list", "--like", "0303", "--json").out) == [THIRD]
    last = json.loads(_tags(project, "list", "--last", "--json").out)
    assert [row["time"] for row in last] == ["2026-05-01T12:04:59+00:00"] * 3
    assert last[0]["value"] == round(float(np.sin(299 / 20)), 2)


def test_points_are_read_as_a_table_as_csv_and_as_json(project):
    bounds = ("--from", "2026-05-01T12:00:10Z", "--to", "2026-05-01T12:00:13Z")
    shown = _tags(project, "read", FIRST, *bounds).out.splitlines()
    assert len(shown) == 4
    assert shown[1].split() == [FIRST, "2026-05-01T12:00:10.000000Z", "0.48"]
    lines = _tags(project, "read", "0*", *bounds, "--csv").out.splitlines()
    assert lines[0] == "tag,time,value"
    assert len(lines) == 10
    found = json.loads(_tags(project, "read", SECOND, "--how", "max", "--every", "1m", "--json").out)
    assert len(found) == 5
    assert found[0] == {"tag": SECOND, "time": "2026-05-01T12:00:00.000000Z", "value": 1.0}
    assert json.loads(_tags(project, "read", FIRST, "--to", "2020-01-01", "--json").out) == []


def test_a_long_table_is_cut_and_says_so(project):
    answer = _tags(project, "read", FIRST, "--limit", "5")
    assert len(answer.out.splitlines()) == 6
    assert "there are more" in answer.err


def test_stats_tell_what_each_tenant_has(project):
    _second_tenant(project)
    found = json.loads(_tags(project, "stats", "--json").out)
    assert list(found) == ["acme", "zeta"]
    assert found["acme"]["points"] == 900
    assert found["acme"]["segments"] == 3
    assert found["acme"]["first"] == "2026-05-01 12:00:00 UTC"
    assert "zeta" not in _tags(project, "stats", "--tenant", "acme").out


def test_stats_tell_the_first_and_the_last_second_that_a_calendar_has(project):
    _points(project, np.array([-62_135_596_800_000_000, 253_402_300_799_999_999]), np.ones(2))
    told = _tags(project, "stats").out
    assert "0001-01-01 00:00:00 UTC" in told
    assert "9999-12-31 23:59:59 UTC" in told
    assert "0001-01-01 00:00:00 " in _tags(project, "plot", FIRST).out


def test_what_reaches_too_far_for_a_picture_is_told_and_leaves_no_file(project, tmp_path):
    pytest.importorskip("matplotlib")
    _points(project, np.array([0, 253_402_300_799_000_000]), np.ones(2))
    answer = _tags(project, "plot", FIRST, "-o", str(tmp_path / "far.png"))
    assert answer.exit_code == 2
    assert "reach too far" in answer.err
    assert not list(tmp_path.glob("*far.png*"))


def _points(project, times_us, values, tenant="acme"):
    with Namespace.open(project.folder / ".headrace") as namespace:
        store = Store(namespace, "history", project.folder / "history")
        points = Points(np.zeros(len(values), np.uint32), times_us, values)
        segment = write_segment(store.folder(tenant), segment_name("line", ["far"]), points)
        tenant_id = store.catalogue.tenant(tenant)
        store.catalogue.codes(tenant_id, GUIDS)
        with namespace.transaction() as tx:
            store.catalogue.add(tx, tenant_id, segment)
        store.close()


def test_of_several_tenants_one_must_be_named(project):
    _second_tenant(project)
    answer = _tags(project, "read", FIRST)
    assert answer.exit_code == 2
    assert "say --tenant NAME" in answer.err
    assert "acme, zeta" in answer.err
    answer = _tags(project, "read", FIRST, "--tenant", "acne")
    assert "Did you mean 'acme'?" in answer.err
    assert _tags(project, "read", FIRST, "--tenant", "zeta", "--how", "last").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("read", FIRST[:-1] + "9"), f"Did you mean '{FIRST}'?"),
        (("read", "zz"), "neither a GUID"),
        (("read", FIRST, "--store", "histroy"), "Did you mean 'history'?"),
        (("read", FIRST, "--how", "mean"), "needs either `every`"),
        (("read", FIRST, "--from", "noon"), "expected a time such as"),
        (("plot", FIRST, "-o", "picture.gif"), "ending in .png or .svg"),
        (("plot", FIRST, "--to", "2020-01-01"), "no points in this time"),
        (("export", "missing/folder"), "the folder above it is not there"),
    ],
)
def test_mistakes_are_told_with_what_to_do(project, words, message):
    answer = _tags(project, *words)
    assert answer.exit_code == 2
    assert message in answer.err


def test_compaction_keeps_every_point_and_says_what_it_did(project):
    before = _tags(project, "read", "*", "--csv").out
    assert "nothing is due; --all merges all the same" in _tags(project, "compact").out
    assert "3 segments became 1, 900 points" in _tags(project, "compact", "--all").out
    assert json.loads(_tags(project, "compact", "--all", "--json").out)["acme"]["segments_read"] == 0
    assert _tags(project, "read", "*", "--csv").out == before


def test_compaction_drops_what_is_older_than_the_settings_say_also_beside_newer_points(tmp_path, capsys):
    commands = Commands(
        tmp_path, capsys, SETTINGS + "retention_days = 10\n[tenants.long]\nretention_days = 30\n"
    )
    day_us = 86_400_000_000
    now_us = SystemClock().now_us()
    for tenant in ("acme", "long"):
        times_us = now_us - np.array([40, 20, 5, -5]) * day_us
        _points(commands, times_us, np.array([1.0, 2.0, 3.0, 4.0]), tenant)
    assert "nothing is due" in _tags(commands, "compact").out
    _tags(commands, "compact", "--all")
    for tenant, values in (("acme", [3.0, 4.0]), ("long", [2.0, 3.0, 4.0])):
        assert hr.read_series("*", project=tmp_path, tenant=tenant)["value"].to_list() == values
    settings = tmp_path / "headrace.toml"
    settings.write_text(settings.read_text().replace("= 10", "= 1"))
    assert "1 segments became 1, 1 points" in _tags(commands, "compact", "--all").out
    assert json.loads(_tags(commands, "compact", "--all", "--json").out)["acme"]["segments_read"] == 0


@pytest.mark.parametrize("file_format", ["parquet", "csv", "files"])
def test_an_export_holds_every_point(project, tmp_path, file_format):
    folder = tmp_path / "exported"
    assert "900 points" in _tags(project, "export", folder, "--format", file_format).out
    expected = hr.read_series("*", project=project.folder)
    if file_format == "parquet":
        assert pl.read_parquet(folder / "*.parquet").equals(expected)
    elif file_format == "csv":
        found = pl.read_csv(folder / "points-00000.csv")
        assert found["value"].to_list() == expected["value"].to_list()
        assert found["time"][0] == "2026-05-01T12:00:00.000000Z"
    else:
        files = sorted((folder / "acme").iterdir())
        assert [re.fullmatch(r"(.{36})-[0-9a-f]{32}\.bin", file.name)[1] for file in files] == [
            FIRST,
            SECOND,
            THIRD,
        ]
        assert files[0].read_text().splitlines()[0] == "2026-05-01T12:00:00.000000Z,0.0"
        assert sum(len(file.read_text().splitlines()) for file in files) == 900
    again = _tags(project, "export", folder)
    assert again.exit_code == 2
    assert "there is one already" in again.err


def test_an_export_that_fails_leaves_nothing(project, tmp_path):
    for segment in (project.folder / "history" / "acme").iterdir():
        segment.unlink()
    answer = _tags(project, "export", tmp_path / "exported")
    assert answer.exit_code == 3
    assert "names files that are not there" in answer.err
    assert not [path for path in tmp_path.iterdir() if "exported" in path.name]


def test_curves_are_drawn_in_the_terminal(project):
    lines = _tags(project, "plot", FIRST, SECOND).out.splitlines()
    assert lines[0].strip() == FIRST
    assert lines[1].lstrip().startswith("1 ┤")
    assert any("⠀" <= char <= "⣿" for char in lines[3])
    assert "2026-05-01 12:00:00" in "".join(lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_pictures_are_written(project, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    file = tmp_path / f"picture.{suffix}"
    assert _tags(project, "plot", "*", "-o", file).exit_code == 0
    assert file.read_bytes()[:5] in {b"\x89PNG\r", b"<?xml"}


def test_a_project_without_a_series_says_how_to_make_one(tmp_path, capsys):
    answer = _tags(Commands(tmp_path, capsys, ""), "list")
    assert answer.exit_code == 2
    assert 'kind = "series"' in answer.err


def test_a_letter_of_a_dataset_says_the_line_of_its_file(project):
    reason = "'x' is no number"
    with Namespace.open(project.folder / ".headrace") as namespace, namespace.transaction() as tx:
        DeadLetters(namespace).add(
            tx,
            [
                DeadLetter("histories", "file", "acme/main/a.csv", partition, 7, b"x", reason, tenant="acme")
                for partition in (0, 1)
            ],
        )
    shown = project("dead-letters", "--tenant", "acme").out
    assert "file 'acme/main/a.csv', line 7;" in shown
    assert "file 'acme/main/a.csv', point 8;" in shown


def test_half_minutes_at_the_axis_of_a_picture_are_times_of_the_day():
    dates = pytest.importorskip("matplotlib.dates")
    formatter = _whole_times(dates, dates.AutoDateLocator())
    at = np.array(["2013-05-05T00:00:00", "2013-05-05T00:00:30", "2013-05-05T00:01:00"], "datetime64[s]")
    assert formatter.format_ticks(dates.date2num(at))[1:] == ["00:00:30", "00:01"]
    assert formatter.get_offset().startswith("2013-May-05")
    assert ":" not in formatter.get_offset()
