"""Bytes that a point takes, over the kinds of signals: ``python -m benchmarks.tags_bytes``.

1,000 tags, one point a second and tag at an irregular millisecond, as the segments of ten batches and after
compaction, beside Gorilla's encoding (T. Pelkonen et al., VLDB 2015: the bits of its times and XORed values
are counted), one sorted Parquet file with plain columns and zstd, and pcodec over whole tags where it is
installed (``pip install pcodec``). The file's footers and the GUIDs, once a tag, are in ours.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from headrace.local.namespace import Namespace
from headrace.series.compaction import compact
from headrace.series.grouping import by_tag_and_time
from headrace.series.points import Points, Values
from headrace.series.segments import segment_name, write_segment
from headrace.series.signals import SIGNALS, Signal
from headrace.series.store import Store

TAGS = 1_000
BATCHES = 10
ROUNDS = 355
BEGIN_MS = 1_367_700_000_000

#: Tags whose bits are counted one by one.
COUNTED_TAGS = 8


def main() -> None:
    kinds = dict(SIGNALS)
    kinds["12-bit converter"] = Signal(None, _converter)
    print("| signal | as it arrives | compacted | Gorilla | plain Parquet, zstd | pcodec |")
    print("|---|---|---|---|---|---|")
    for name, signal in kinds.items():
        points = _points(signal)
        arriving, compacted = _ours(points)
        peers = (_gorilla(points), _plain(points), _pcodec(points))
        cells = " | ".join("" if size is None else f"{size:.2f}" for size in (arriving, compacted, *peers))
        print(f"| {name} | {cells} |", flush=True)


def _converter(random: np.random.Generator, level: Values, state: Values, times_ms: np.ndarray) -> Values:
    shares = (
        0.5 + 0.3 * np.sin(times_ms[:, None] / 1e6) + random.normal(0, 0.002, (len(times_ms), len(level)))
    )
    return np.rint(np.clip(shares, 0, 1) * 4095) * 100 / 4095


def _points(signal: Signal) -> Points:
    """Return the points of all rounds, sorted by tag and time."""
    random = np.random.default_rng(6)
    rounds = ROUNDS * BATCHES
    times_ms = BEGIN_MS + np.arange(rounds) * 1_000
    level, state = random.uniform(10, 100, TAGS), np.zeros(TAGS)
    values = signal.make(random, level, state, times_ms)
    if signal.decimals is not None:
        values = np.round(values, signal.decimals)
    own_ms = times_ms[:, None] + random.integers(0, 1_000, (rounds, TAGS))
    codes = np.repeat(np.arange(TAGS, dtype=np.uint32), rounds)
    return Points(codes, own_ms.T.ravel() * 1_000, np.ascontiguousarray(values.T).ravel())


def _ours(points: Points) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as place, Namespace.open(Path(place) / "data") as namespace:
        store = Store(namespace, "history", Path(place) / "history")
        tenant = store.catalogue.tenant("acme")
        batch = (points.times_us // 1_000 - BEGIN_MS) // (ROUNDS * 1_000)
        for number in range(BATCHES):
            mine = batch == number
            some = by_tag_and_time(Points(points.codes[mine], points.times_us[mine], points.values[mine]))
            segment = write_segment(store.folder("acme"), segment_name("line", [str(number)]), some)
            with namespace.transaction() as tx:
                store.catalogue.add(tx, tenant, segment)
        arriving = store.catalogue.totals(tenant).bytes_per_point
        compact(store, "acme", everything=True)
        compacted = store.catalogue.totals(tenant).bytes_per_point
        store.close()
    assert arriving is not None
    assert compacted is not None
    return arriving, compacted


def _plain(points: Points) -> float:
    frame = pl.DataFrame({"tag": points.codes, "time": points.times_us, "value": points.values})
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "plain.parquet"
        import pyarrow.parquet as pq  # noqa: PLC0415 - only here

        pq.write_table(frame.to_arrow(), file, compression="zstd", use_dictionary=False)
        return file.stat().st_size / len(points)


def _pcodec(points: Points) -> float | None:
    try:
        from pcodec import ChunkConfig, standalone  # noqa: PLC0415 - may be missing
    except ImportError:
        return None
    size = 0
    for code in range(COUNTED_TAGS):
        mine = points.codes == code
        for column in (points.times_us[mine] // 1_000, points.values[mine]):
            size += len(standalone.simple_compress(column, ChunkConfig()))
    return size / (COUNTED_TAGS * ROUNDS * BATCHES)


def _gorilla(points: Points) -> float:
    bits = 0
    for code in range(COUNTED_TAGS):
        mine = points.codes == code
        bits += _bits_of_times(points.times_us[mine] // 1_000) + _bits_of_values(points.values[mine])
    return bits / 8 / (COUNTED_TAGS * ROUNDS * BATCHES)


def _bits_of_times(times_ms: np.ndarray) -> int:
    changes = np.diff(times_ms, 2)
    sizes = np.select(
        [changes == 0, (changes >= -63) & (changes <= 64), np.abs(changes) <= 255, np.abs(changes) <= 2_047],
        [1, 9, 12, 16],
        36,
    )
    return 64 + 14 + int(sizes.sum())


def _bits_of_values(values: Values) -> int:
    bits, leading, trailing = 64, 65, 65
    for changed in (values.view(np.uint64)[1:] ^ values.view(np.uint64)[:-1]).tolist():
        if not changed:
            bits += 1
            continue
        ahead = min(31, 64 - changed.bit_length())
        behind = (changed & -changed).bit_length() - 1
        if leading <= ahead and trailing <= behind:
            bits += 2 + 64 - leading - trailing
        else:
            leading, trailing = ahead, behind
            bits += 2 + 5 + 6 + 64 - leading - trailing
    return bits


if __name__ == "__main__":
    main()
