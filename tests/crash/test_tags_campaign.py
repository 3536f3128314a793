"""The kill campaign of histories, small: it passes, and what it must find it finds."""

from collections import Counter

import pytest

pytest.importorskip("pyarrow")

from headrace.clock import SystemClock
from headrace.testing.tags_campaign.__main__ import main
from headrace.testing.tags_campaign.checking import check
from headrace.testing.tags_campaign.files import Files
from headrace.testing.tags_campaign.run import Run


def test_a_short_campaign_loses_and_doubles_no_point(tmp_path, capsys):
    assert main(["--kills", "20", "--paper-kills", "0", "--folder", str(tmp_path / "run")]) == 0
    assert "passed" in capsys.readouterr().out


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("tags") / "run", "segments", 1, SystemClock(), 60.0)
    for tenant in ("acme", "acme", "zinc"):
        run.files.add(tenant)
    try:
        for member in run.fleet.members:
            run.fleet.start(member)
        run.finish()
    finally:
        run.close()
    return run


def findings(run, *, files=None):
    return " ".join(check(run.folder, files or run.files).findings)


def test_an_undisturbed_run_has_no_findings(undisturbed):
    assert findings(undisturbed) == ""


def test_a_point_that_is_missing_or_too_many_is_found(undisturbed):
    wanted = Files(undisturbed.files.folder, undisturbed.files.count, undisturbed.files.bad)
    points = {tenant: Counter(held) for tenant, held in undisturbed.files.points.items()}
    point = next(iter(points["acme"]))
    wanted.points = points
    del points["acme"][point]
    assert "acme: 0 points lost, 1 too many" in findings(undisturbed, files=wanted)
    points["acme"][point] = 1
    points["zinc"][("a tag", 0, 1.0)] = 1
    assert "zinc: 1 points lost, 0 too many" in findings(undisturbed, files=wanted)


def test_files_and_segments_that_do_not_agree_are_found(undisturbed):
    stray = undisturbed.folder / "history/acme/stray.parquet"
    stray.write_bytes(b"")
    try:
        assert "acme: files without a segment: ['stray.parquet']" in findings(undisturbed)
    finally:
        stray.unlink()


def test_messages_that_are_left_and_letters_that_are_missing_are_found(undisturbed):
    wanted = Files(undisturbed.files.folder, undisturbed.files.count + 1, undisturbed.files.bad + 1)
    wanted.points = undisturbed.files.points
    found = findings(undisturbed, files=wanted)
    assert "of 4 files 3 were enqueued, 3 done" in found
    assert "there are 2 dead letters" in found
