"""How fast a hub takes events and gives them back: ``python -m benchmarks.hub``.

Events are about 1 KB of JSON with words drawn as in a language (few often, most seldom), so that compression
sees what it would see; made before the clock starts. Each figure is the median of three runs.
"""

from __future__ import annotations

import itertools
import json
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

from headrace.local.hub import Hub

_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
_RUNS = 3


def events(count: int, size_bytes: int, seed: int = 1) -> list[bytes]:
    """Return JSON events of about `size_bytes`."""
    chance = random.Random(seed)
    words = [
        "".join(chance.choice(_LETTERS[: chance.randint(6, 26)]) for _ in range(chance.randint(2, 11)))
        for _ in range(8000)
    ]
    weights = [1 / (rank + 5) for rank in range(len(words))]
    made = []
    for number in range(count):
        doc = " ".join(chance.choices(words, weights, k=size_bytes // 5))
        event = {"id": number, "sensor": f"s-{chance.randrange(500)}", "value": round(chance.random(), 4)}
        room = size_bytes - len(json.dumps({**event, "doc": ""}))
        made.append(json.dumps({**event, "doc": doc[: max(0, room)]}).encode())
    return made


def publish(
    folder: Path, blocks: list[list[bytes]], calls: int, keys: list[str] | None = None
) -> list[float]:
    """Publish blocks in turn; return the seconds of each call."""
    took = []
    with Hub.create(folder, "bench") as hub:
        for block in itertools.islice(itertools.cycle(blocks), calls):
            started = time.perf_counter()
            hub.publish_bodies(block, keys=keys)
            took.append(time.perf_counter() - started)
    return took


def publish_single(folder: Path, body: bytes, calls: int, threads: int) -> float:
    """Publish one event a call from several threads; return events a second."""
    with Hub.create(folder, "bench") as hub:

        def work() -> None:
            for _ in range(calls // threads):
                hub.publish_bodies([body])

        workers = [threading.Thread(target=work) for _ in range(threads)]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return calls / (time.perf_counter() - started)


def read(folder: Path, *, bodies: bool) -> float:
    """Read a hub through; return events a second."""
    with Hub.open(folder, "bench") as hub:
        started, count = time.perf_counter(), 0
        for partition, end in enumerate(hub.ends()):
            offset = 0
            while offset < end:
                found = hub.read(partition, offset, max_events=100_000, max_bytes=32 << 20)
                offset = found.next_offset
                assert found.bodies if bodies else found.joined
                count += len(found)
        return count / (time.perf_counter() - started)


def expire(folder: Path) -> tuple[float, float]:
    """Delete everything while another thread publishes; return seconds, and the longest publish in ms."""
    with Hub.open(folder, "bench") as hub:
        longest, stop = 0.0, threading.Event()
        before_us = time.time_ns() // 1000

        def work() -> None:
            nonlocal longest
            while not stop.is_set():
                began = time.perf_counter()
                hub.publish_bodies([b"{}"])
                longest = max(longest, time.perf_counter() - began)

        worker = threading.Thread(target=work)
        worker.start()
        started = time.perf_counter()
        hub.expire(before_us)
        took = time.perf_counter() - started
        stop.set()
        worker.join()
        return took, longest * 1000


def _percentile(took: list[float], share: float) -> float:
    return sorted(took)[int(len(took) * share)] * 1000


def _run(folder: Path, size_bytes: int, calls: int) -> dict[str, float]:
    made = events(8000, size_bytes)
    blocks = [made[start : start + 1000] for start in range(0, len(made), 1000)]
    took = publish(folder, blocks, calls)
    return {
        "publish, events/s": 1000 * calls / sum(took),
        "publish, call p50 ms": _percentile(took, 0.5),
        "publish, call p99 ms": _percentile(took, 0.99),
        "publish, call max ms": max(took) * 1000,
        "read joined, events/s": read(folder, bodies=False),
        "read bodies, events/s": read(folder, bodies=True),
    }


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _print(title: str, figures: dict[str, float]) -> None:
    for name, figure in figures.items():
        print(f"{title:34} {name:28} {figure:>12,.{0 if figure > 1000 else 1}f}")


def main() -> None:
    """Print the table."""
    for size_bytes in (1024, 200):
        runs = []
        for number in range(_RUNS):
            with tempfile.TemporaryDirectory(prefix=f"hub-{number}-") as folder:
                runs.append(_run(Path(folder), size_bytes, calls=300))
        _print(f"{size_bytes} B, blocks of 1,000", _median(runs))
    block = events(1000, 1024)
    extras = []
    for _ in range(_RUNS):
        with tempfile.TemporaryDirectory(prefix="hub-") as folder:
            keys = [f"sensor-{number % 97}" for number in range(len(block))]
            keyed = publish(Path(folder, "keyed"), [block], 200, keys)
            took_s, longest_ms = expire(Path(folder, "keyed"))
            extras.append(
                {
                    "keyed blocks, events/s": 1000 * len(keyed) / sum(keyed),
                    "expire all, events/s": 1000 * len(keyed) / took_s,
                    "publish max beside it, ms": longest_ms,
                    "single, 1 thread, events/s": publish_single(Path(folder, "one"), block[0], 1000, 1),
                    "single, 8 threads, events/s": publish_single(Path(folder, "many"), block[0], 4000, 8),
                }
            )
    _print("1024 B", _median(extras))


if __name__ == "__main__":
    main()
