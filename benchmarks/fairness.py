"""What tenants wait for while one dumps its files, and what turns cost: ``python -m benchmarks.fairness``.

The first table is simulated on the real queue with a clock set by hand. Four workers read 100 MB/s each from
files of 1-4 MB; tenant A enqueues 5,000 at once, B, C and D bring 8 files a second each (weights 1, 2 and 4),
and E, which is urgent, 32. `fifo` is the same queue without tenants.

The second is three tenants with a backlog, each of its weight. The third is measured: every commit is synced,
claims take ten messages of 100 bytes, and a claim and a delete are a commit each. The sizes take turns, so
that noise of the machine meets all of them; each figure is the median.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from headrace.clock import ManualClock
from headrace.local.fair_queue import TenantShare
from headrace.local.namespace import Namespace
from headrace.local.queue import Message, Queue

_WORKERS: Final = 4
_BYTES_PER_US: Final = 100  # 100 MB/s
_FILES: Final = 5_000
_SECONDS: Final = 40
_FILES_A_SECOND: Final = {"B": 8, "C": 8, "D": 8, "E": 32}
_SHARES: Final = {
    "B": TenantShare(weight=1),
    "C": TenantShare(weight=2),
    "D": TenantShare(weight=4),
    "E": TenantShare(urgent=True),
}

_CLAIMS: Final = 600
_ROUNDS: Final = 3
_BATCH: Final = 10

#: Where a simulation is, which measures no disk.
_MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None


def arrivals(chance: random.Random) -> list[tuple[int, str, int]]:
    """Return when (in microseconds) which tenant brings a file of how many bytes, in order."""
    found = [(0, "A", chance.randint(1_000_000, 4_000_000)) for _ in range(_FILES)]
    for tenant, rate in _FILES_A_SECOND.items():
        at_us = 0.0
        while (at_us := at_us + chance.expovariate(rate) * 1e6) < _SECONDS * 1e6:
            found.append((int(at_us), tenant, chance.randint(1_000_000, 4_000_000)))
    return sorted(found)


def simulate(*, fair: bool, batch: int) -> Mapping[str, list[float]]:
    """Return how many seconds each message of each tenant waited."""
    waits: defaultdict[str, list[float]] = defaultdict(list)
    clock = ManualClock()
    began_us = clock.now_us()
    coming = arrivals(random.Random(7))[::-1]
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder, Namespace.open(Path(folder), clock=clock) as ns:
        queue = Queue(ns, "work", visibility_timeout_s=3_600)
        if fair:
            queue.set_tenants(_SHARES)
        workers: list[tuple[int, int, list[Message]]] = [(began_us, n, []) for n in range(_WORKERS)]
        while True:
            free_us, worker, done = heapq.heappop(workers)
            clock.sleep((free_us - clock.now_us()) / 1e6)
            _deliver(ns, queue, coming, clock.now_us() - began_us, fair=fair)
            if done:
                with ns.transaction() as tx:
                    queue.delete(tx, done)
            messages = queue.claim(limit=batch, owner=str(worker))
            for message in messages:
                tenant, at_us, _ = message.body.decode().split()
                waits[tenant].append((clock.now_us() - began_us - int(at_us)) / 1e6)
            if not messages and not coming:
                return waits
            size_bytes = sum(int(message.body.split()[2]) for message in messages)
            heapq.heappush(workers, (free_us + (size_bytes // _BYTES_PER_US or 1_000), worker, messages))


def _deliver(
    namespace: Namespace, queue: Queue, coming: list[tuple[int, str, int]], now_us: int, *, fair: bool
) -> None:
    """Send what has come by now."""
    with namespace.transaction() as tx:
        while coming and coming[-1][0] <= now_us:
            at_us, tenant, size_bytes = coming.pop()
            body = f"{tenant} {at_us} {size_bytes}".encode()
            queue.send(tx, [body], tenant=tenant if fair else "", cost=size_bytes)


def print_waits() -> None:
    """Print what tenants wait, first in, first out and in turns."""
    print("| claims | A p99 | B p50 / p99 (weight 1) | D p50 / p99 (weight 4) | E p50 / p99 (urgent) |")
    print("| --- | --- | --- | --- | --- |")
    for batch in (1, _BATCH):
        for fair in (False, True):
            waits = simulate(fair=fair, batch=batch)
            quantiles = {tenant: np.quantile(found, (0.5, 0.99)) for tenant, found in waits.items()}
            cells = [f"{quantiles[tenant][0]:.3f} / {quantiles[tenant][1]:.3f} s" for tenant in "BDE"]
            name = f"{'fair' if fair else 'fifo'}, {batch} at a time"
            print(f"| {name} | {quantiles['A'][1]:.1f} s | {' | '.join(cells)} |")


def print_shares() -> None:
    """Print the bytes that three tenants with a backlog get."""
    chance, weights = random.Random(3), {"one": 1, "two": 2, "four": 4}
    handed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder, Namespace.open(Path(folder)) as ns:
        queue = Queue(ns, "work")
        queue.set_tenants({name: TenantShare(weight=weight) for name, weight in weights.items()})
        with ns.transaction() as tx:
            for name in weights:
                costs = [chance.randint(1_000_000, 4_000_000) for _ in range(_FILES)]
                queue.send(tx, [b"%d" % cost for cost in costs], tenant=name, cost=costs)
        for _ in range(800):
            messages = queue.claim(limit=_BATCH, owner="me")
            handed[messages[0].tenant] += sum(int(message.body) for message in messages)
            with ns.transaction() as tx:
                queue.delete(tx, messages)
    shares = ", ".join(f"{name} {handed[name] / handed.total():.4f}" for name in weights)
    print(f"shares of weights 1:2:4: {shares} (ideal 0.1429, 0.2857, 0.5714)")


def claims(namespace: Namespace, tenants: int) -> Iterator[float]:
    """Yield messages a second, claimed and deleted, again and again."""
    queue = Queue(namespace, "work")
    batches = -(-_CLAIMS * _ROUNDS // max(tenants, 1))  # whole ones of each tenant
    with namespace.transaction() as tx:
        for number in range(max(tenants, 1)):
            bodies = [bytes(100)] * _BATCH * batches
            queue.send(tx, bodies, tenant=f"tenant-{number}" if tenants else "")
    while True:
        handed, started = 0, time.perf_counter()
        for _ in range(_CLAIMS):
            claimed = queue.claim(limit=_BATCH, owner="me")
            handed += len(claimed)
            with namespace.transaction() as tx:
                queue.delete(tx, claimed)
        yield handed / (time.perf_counter() - started)


def print_claims(sizes: list[int], place: str) -> None:
    """Print what turns cost."""
    rates: defaultdict[int, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        running = {n: claims(Namespace.open(Path(folder) / str(n)), n) for n in sizes}
        for _ in range(_ROUNDS):
            for tenants, measured in running.items():
                rates[tenants].append(next(measured))
    for tenants in sizes:
        name = f"{tenants:,} tenants" if tenants else "fifo"
        print(f"{name:<16} {statistics.median(rates[tenants]):>8,.0f} messages/s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=["waits", "shares", "claims"])
    parser.add_argument("--tenants", type=int, nargs="+", default=[0, 7, 1_000, 20_000], help="0: fifo")
    parser.add_argument("--folder", default=".", help="where claims are measured; in memory no sync counts")
    arguments = parser.parse_args()
    if arguments.only in {None, "waits"}:
        print_waits()
    if arguments.only in {None, "shares"}:
        print_shares()
    if arguments.only in {None, "claims"}:
        print_claims(arguments.tenants, arguments.folder)


if __name__ == "__main__":
    main()
