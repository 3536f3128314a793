"""Made-up sensor files: what they hold, and that they are the same every time."""

import numpy as np
import pytest

from headrace.errors import UserError
from headrace.series.generate import Generator, write_dataset
from headrace.series.lines import read_line
from headrace.series.signals import SIGNALS


@pytest.mark.parametrize("tags", [1, 7, 1_000])
def test_lines_say_exactly_what_the_arrays_hold(tags):
    generator = Generator(tags, signals=list(SIGNALS), seed=3)
    points = generator.take(3_000)
    lines = generator.text(points).splitlines()
    assert len(lines) == len(points) == 3_000
    for line, code, time_us, value in zip(lines, points.codes, points.times_us, points.values, strict=True):
        assert read_line(line) == (generator.guids[code], time_us, value)


def test_time_goes_forward_no_tag_has_a_time_twice_and_each_tag_comes():
    points = Generator(500, seed=1).take(20_000)
    assert (np.diff(points.times_us) >= 0).all()
    assert len(set(zip(points.codes.tolist(), points.times_us.tolist(), strict=True))) == 20_000
    assert set(points.codes.tolist()) == set(range(500))


def test_the_same_seed_gives_the_same_points_however_they_are_taken():
    whole, parts = Generator(10, seed=5), Generator(10, seed=5)
    assert whole.text(whole.take(1_000)) == b"".join(parts.text(parts.take(size)) for size in (1, 99, 900))
    assert Generator(10, seed=5).guids != Generator(10, seed=6).guids
    assert Generator(10, seed=5, name="acme").guids != Generator(10, seed=5, name="bolt").guids


def test_signals_are_what_they_are_called():
    def values(signal):
        generator = Generator(1, signals=[signal])
        return generator.take(5_000).values

    assert set(values("boolean")) == {0.0, 1.0}
    assert (np.diff(values("counter")) >= 0).all()
    assert 5 < len(set(values("setpoint"))) < 200
    assert np.abs(np.diff(values("walk"))).max() < 0.2
    for signal, kind in SIGNALS.items():
        if kind.decimals is not None:
            assert (values(signal) == values(signal).round(kind.decimals)).all()
    assert (values("double") != values("double").round(6)).mean() > 0.99


def test_a_signal_that_there_is_not_is_refused():
    with pytest.raises(UserError, match="signals among random, setpoint"):
        Generator(1, signals=["noise"])


def test_files_have_1_to_4_megabytes_and_go_on_in_time(tmp_path):
    files = list(write_dataset(Generator(100), tmp_path, "acme", size_bytes=8_000_000))
    assert sum(file.size_bytes for file in files) == pytest.approx(8_000_000, rel=0.01)
    assert all(1_000_000 < file.size_bytes < 4_000_000 for file in files[:-1])
    assert [file.path for file in files] == sorted((tmp_path / "acme").iterdir())
    times = []
    for file in files:
        lines = file.path.read_bytes().splitlines()
        assert len(lines) == file.points
        times += [read_line(lines[0]).time_us, read_line(lines[-1]).time_us]
    assert times == sorted(times)


def test_as_many_points_as_asked_for_are_made(tmp_path):
    files = list(write_dataset(Generator(100), tmp_path, "acme", points=60_000))
    assert sum(file.points for file in files) == 60_000


def test_a_tenants_name_never_becomes_a_path(tmp_path):
    with pytest.raises(UserError, match="cannot name a tenant"):
        list(write_dataset(Generator(1), tmp_path / "in", "../x", points=1))
    assert list(tmp_path.iterdir()) == []
