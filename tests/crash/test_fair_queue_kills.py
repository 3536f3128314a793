"""A fair queue is killed at any moment: its counts stay those of its messages, and no message is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace.local.namespace import Namespace
from headrace.local.queue import Queue

#: Sends, claims, finishes, gives back, renews and lets leases run out, until it is killed.
WORKER = """
import random, sys
from pathlib import Path
from headrace.local.fair_queue import TenantShare
from headrace.local.namespace import Namespace
from headrace.local.queue import LostLease, Queue

chance = random.Random(int(sys.argv[2]))
namespace = Namespace.open(Path(sys.argv[1]))
queue = Queue(namespace, "work", visibility_timeout_s=0.02, max_deliveries=4)
queue.reclaim("worker")
held = []
print("ready", flush=True)
while True:
    match chance.randrange(6):
        case 0:
            with namespace.transaction() as tx:
                queue.send(tx, [b"x"] * chance.randint(1, 20), tenant=chance.choice("abcd"))
        case 1 | 2:
            held.append(queue.claim(limit=chance.randint(1, 10), owner="worker"))
        case 3 if held:
            try:
                with namespace.transaction() as tx:
                    queue.delete(tx, held.pop())
            except LostLease:
                pass
        case 4 if held:
            chance.choice([queue.release, queue.renew])(held.pop(0))
        case 5:
            queue.set_tenants({chance.choice("abcd"): TenantShare(max_in_flight=chance.choice([None, 5]))})
"""

COUNTED = """
SELECT tenant, count(*) FILTER (WHERE hidden_until_us IS NULL),
    count(*) FILTER (WHERE hidden_until_us IS NOT NULL AND receipt IS NOT NULL)
FROM message GROUP BY tenant
"""


def worker(folder: Path, seed: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WORKER, str(folder), str(seed)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("seed", range(10))
def test_counts_of_tenants_are_those_of_their_messages_after_each_kill(tmp_path, seed):
    chance = random.Random(seed)
    for round_number in range(3):
        processes = [worker(tmp_path, seed * 100 + round_number * 10 + n) for n in range(2)]
        time.sleep(chance.uniform(0.02, 0.25))
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
        with Namespace.open(tmp_path) as namespace:
            with namespace.reading() as connection:
                counted = {name: (ready, held) for name, ready, held in connection.execute(COUNTED)}
            queue = Queue(namespace, "work")
            tenants = {name: (count.ready, count.in_flight) for name, count in queue.tenants().items()}
            assert {name: count for name, count in tenants.items() if count != (0, 0)} == counted
            depth = queue.depth()
            assert depth.sent - depth.finished - depth.dead == sum(map(sum, counted.values()))
    assert depth.sent > 0
