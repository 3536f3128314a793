"""Spikes, dips and change points: what is found, what is not, and that cuts do not matter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.analytic.density import upper_tails
from headrace.engine.row_error import RowError
from tests.unit.looking_back import CUTS, Event, found, streams

NOISE = np.random.default_rng(11)

#: Plain noise around 10.
PLAIN = [round(float(value), 3) for value in 10 + NOISE.normal(size=400)]


def judged(call: str, values: Sequence[Any], **how: Any) -> list[Event]:
    events = [{"t": time, "v": value} for time, value in enumerate(values)]
    return [row["x"] for row in found(f"{call} AS x", events, **how)]


def spikes(
    values: Sequence[Any], mode: str = "spikesanddips", confidence: float = 95, history: int = 60
) -> list[int]:
    call = f"AnomalyDetection_SpikeAndDip(v, {confidence}, {history}, '{mode}')"
    return places(judged(f"{call} OVER (LIMIT DURATION(minute, 10))", values))


def changes(values: Sequence[Any], confidence: float = 95, history: int = 60) -> list[int]:
    call = f"AnomalyDetection_ChangePoint(v, {confidence}, {history})"
    return places(judged(f"{call} OVER (LIMIT DURATION(minute, 10))", values))


def places(records: list[Event]) -> list[int]:
    return [place for place, record in enumerate(records) if record["IsAnomaly"] == 1]


def test_the_result_is_a_record_of_a_bigint_and_a_float() -> None:
    for call in ("SpikeAndDip(v, 95, 60, 'dips')", "ChangePoint(v, 95, 60)"):
        for record in judged(f"AnomalyDetection_{call} OVER (LIMIT DURATION(minute, 1))", [*PLAIN[:40], 99]):
            assert list(record) == ["IsAnomaly", "Score"]
            assert type(record["IsAnomaly"]) is int
            assert type(record["Score"]) is float


@pytest.mark.parametrize("confidence", [80, 95, 99, 99.5, 100])
@pytest.mark.parametrize("history", [20, 60, 300])
def test_an_evident_spike_and_a_dip_are_found_at_once(confidence: float, history: int) -> None:
    values = [*PLAIN[:50], 100, *PLAIN[50:70], -60, *PLAIN[70:80]]
    assert {50, 71} <= set(spikes(values, confidence=confidence, history=history))
    assert 50 in spikes(values, "spikes", confidence, history)
    assert 71 not in spikes(values, "spikes", confidence, history)
    assert 71 in spikes(values, "dips", confidence, history)
    assert 50 not in spikes(values, "dips", confidence, history)


def test_a_spike_that_was_seen_does_not_hide_a_smaller_one() -> None:
    values = [*PLAIN[:50], 1000, *PLAIN[50:60], 30, *PLAIN[60:70], 1000]
    assert {50, 61, 72} <= set(spikes(values))


@pytest.mark.parametrize("draw", ["normal", "uniform", "exponential", "laplace", "lognormal", "steps"])
def test_plain_noise_is_reported_less_often_than_the_confidence_allows(draw: str) -> None:
    random = np.random.default_rng(5)
    drawn = random.integers(0, 5, 2000) if draw == "steps" else getattr(random, draw)(size=2000)
    values = [float(value) for value in drawn]
    for confidence in (80, 95):
        assert len(spikes(values, confidence=confidence)) < 2000 * (1 - confidence / 100)
        assert len(spikes(values, "spikes", confidence)) < 2000 * (1 - confidence / 100)
        assert len(changes(values, confidence)) < 2000 * (1 - confidence / 100) / 20


def test_values_that_come_round_again_are_no_anomalies() -> None:
    values = [10.4, 10.8, 10.2, 10.6, 10.0] * 30
    assert spikes(values, confidence=90) == []
    assert changes(values, confidence=80) == []
    assert spikes([7] * 100) == []
    assert changes([7] * 100) == []
    assert spikes([*[7] * 50, 8, *[7] * 50]) == [50]


def test_nothing_is_reported_while_the_history_is_short() -> None:
    values = [1, 50, -200, 1000, 3, 9, 10_000, -7, 0, 5]
    assert spikes(values, confidence=1) == []
    assert changes(values, confidence=1) == []


@pytest.mark.parametrize("confidence", [80, 95, 99, 100])
@pytest.mark.parametrize("history", [20, 60, 120])
@pytest.mark.parametrize("level", [-30, 4, 16, 50])
def test_a_lasting_change_of_level_is_found_a_few_events_after_it(
    confidence: float, history: int, level: float
) -> None:
    values = [*PLAIN[:150], *(value - 10 + level for value in PLAIN[150:200])]
    got = [place for place in changes(values, confidence, history) if place >= 150]
    assert got
    assert got[0] - 150 < 20
    if confidence >= 95:
        assert len(got) == 1


def test_a_single_spike_is_no_change_of_level() -> None:
    assert changes([*PLAIN[:100], 1000, *PLAIN[100:200]], confidence=80) == []


def test_the_score_of_a_change_grows_until_it_is_found() -> None:
    call = "AnomalyDetection_ChangePoint(v, 99, 60) OVER (LIMIT DURATION(minute, 10))"
    records = judged(call, [*PLAIN[:100], *(value + 40 for value in PLAIN[:4])])
    scores = [record["Score"] for record in records[100:]]
    assert scores == sorted(scores)
    assert [record["IsAnomaly"] for record in records[100:]] == [0, 0, 0, 1]
    assert scores[-1] >= 100


def test_partitions_and_when_keep_histories_apart() -> None:
    events = [
        {"t": time, "k": key, "ok": ok, "v": value if key == "a" else 100 * value}
        for time, value in enumerate(PLAIN[:60])
        for key in "ab"
        for ok in (0, 1)
    ]
    for event in events:
        event["v"] = event["v"] if event["ok"] else 1e6
    events.append({"t": 60, "k": "a", "ok": 1, "v": 1000})
    over = "OVER (PARTITION BY k LIMIT DURATION(minute, 9) WHEN ok = 1)"
    call = f"AnomalyDetection_SpikeAndDip(v, 99.9, 60, 'spikes') {over}"
    rows = [row["x"] for row in found(f"{call} AS x", events)]
    assert places(rows) == [240]
    assert all(
        row == {"IsAnomaly": 0, "Score": 1.0}
        for row, event in zip(rows, events, strict=True)
        if not event["ok"]
    )


def test_events_without_a_value_are_left_out() -> None:
    values: list[Any] = []
    for value in PLAIN[:40]:
        values += [value, None]
    assert spikes([*values, 100]) == [80]
    assert changes([*values, *[50, None] * 5]) == [84]


def test_a_text_is_read_as_a_number_or_is_an_error() -> None:
    assert spikes([*map(str, PLAIN[:40]), "100"]) == [40]
    with pytest.raises(RowError, match="'x'") as error:
        spikes([*PLAIN[:40], "x"])
    assert error.value.row == 40


def test_a_history_ends_at_the_limit() -> None:
    call = "AnomalyDetection_SpikeAndDip(v, 95, 60, 'spikes') OVER (LIMIT DURATION(second, {}))"
    assert places(judged(call.format(10), [*PLAIN[:40], 100])) == []
    assert places(judged(call.format(11), [*PLAIN[:40], 100])) == [40]


@settings(max_examples=50, deadline=None)
@given(
    streams(k=st.integers(0, 1), v=st.none() | st.integers(0, 3) | st.sampled_from([0.5, 90.0])),
    CUTS,
    st.integers(1, 12),
    st.sampled_from([5, 60]),
    st.sampled_from([1, 50, 80, 95]),
)
def test_cuts_change_nothing_down_to_the_last_bit(
    events: list[Event], cuts: list[int], history: int, limit_s: int, confidence: int
) -> None:
    over = f"OVER (PARTITION BY k LIMIT DURATION(second, {limit_s}))"
    items = (
        f"AnomalyDetection_SpikeAndDip(v, {confidence}, {history}, 'spikesanddips') {over} AS a, "
        f"AnomalyDetection_ChangePoint(v, {confidence}, {history}) {over} AS b, "
        f"AnomalyDetection_ChangePoint(v, 60, 5) {over} AS c"
    )
    assert found(items, events) == found(items, events, cuts=cuts, saved=True)


def test_a_long_stream_cut_anywhere_has_the_same_change_points() -> None:
    values = [*PLAIN[:150], *(value + 9 for value in PLAIN[150:250]), *PLAIN[250:]]
    call = "AnomalyDetection_ChangePoint(v, 90, 50) OVER (LIMIT DURATION(minute, 1))"
    whole = judged(call, values)
    assert len(places(whole)) >= 2
    for step in (1, 7, 149):
        assert judged(call, values, cuts=range(0, 400, step), saved=step > 1) == whole


def test_after_a_change_point_the_new_level_is_what_is_usual() -> None:
    values = [*PLAIN[:100], *(value + 40 for value in PLAIN[100:120]), *PLAIN[120:160]]
    assert changes(values, history=100) == [102, 122]


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0, 8.0, 3.0], [7.0, 9.0, 7.0, 7.0, 7.0, 7.0, 5.0]])
def test_a_tail_is_what_its_kernels_say(values: list[float]) -> None:
    count = len(values)
    ordered, quarter = sorted(values), (count - 1) // 4
    quartiles = (ordered[count - 1 - quarter] - ordered[quarter]) / 1.349
    deviation = float(np.std(values, ddof=1))
    spread = min(deviation, quartiles) if quartiles else deviation
    width = spread * (1 + 2 / count) * 0.5
    kernels = [1 / (1 + math.exp(1.702 * (7.5 - value) / width)) for value in values]
    [tail] = upper_tails(
        np.array([*values, 7.5]), np.array([count]), np.array([0]), np.array([count]), width=0.5
    )
    assert tail == pytest.approx(sum(kernels) / count, rel=1e-12)
