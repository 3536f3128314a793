"""Jobs that store events in each kind of place, and what must be there afterwards: all of it, once."""

import contextlib
import json
import random
import subprocess
from collections import Counter

from headrace.errors import UserError
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.table import Table

EVENTS = 2000

SETTINGS = """
[inputs.papers]
kind = "{input}"
[outputs.results]
kind = "{output}"
{key}
[jobs.store]
sql = "SELECT id, doc{more} INTO results FROM papers"
"""

_COUNTED = ", COUNT(*) OVER (PARTITION BY id LIMIT DURATION(minute, 5)) AS n"

#: By what fills the disk: rows of a table, state, blocks of a hub, the work on a queue.
JOBS = {
    "table": {"input": "hub", "output": "table", "key": 'row_key = "id"', "more": ""},
    "state": {"input": "hub", "output": "table", "key": 'row_key = "id"', "more": _COUNTED},
    "hub": {"input": "hub", "output": "hub", "key": "", "more": ""},
    "queue": {"input": "queue", "output": "table", "key": 'row_key = "id"', "more": ""},
}


#: What a run says when an instance that met something passing met it again.
RESTARTED = "exit code 3; starting it again in 0.5 s"


@contextlib.contextmanager
def running(sandbox, said, *words, prefix=()):
    """Run `headrace` in the background, its messages going to the file `said`."""
    with (
        said.open("wb") as file,
        subprocess.Popen([*prefix, *sandbox.command(*words)], stderr=file) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def documents(begin=0, end=EVENTS):
    """Return events that do not become much smaller when they are compressed."""
    return [{"id": f"{n:05}", "doc": random.Random(n).randbytes(600).hex()} for n in range(begin, end)]


def prepare(sandbox, job):
    """Write the settings of a job, and send its events."""
    sandbox.write(headrace__toml=SETTINGS.format(**JOBS[job]))
    Namespace.open(sandbox.data).close()
    send(sandbox, job, documents())


def send(sandbox, job, events):
    """Send events to the job's input."""
    bodies = [json.dumps(event).encode() for event in events]
    if JOBS[job]["input"] == "queue":
        sandbox.send("papers", bodies)
    else:
        sandbox.publish("papers", bodies, partitions=2)


def stored(sandbox, job):
    """Return how often each row is there."""
    with Namespace.open(sandbox.data, looking=True) as namespace:
        if job == "hub":
            bodies = list(_bodies(namespace))
        else:
            bodies = [row.properties for row in Table(namespace, "results").read()]
    # The rows of a table leave their key out.
    return Counter(json.loads(body)["doc"] for body in bodies if json.loads(body).get("n", 1) == 1)


def _bodies(namespace):
    try:
        hub = Hub.open(namespace.hubs_folder, "results", looking=True)
    except UserError:  # it is not made yet, or being made
        return
    with hub:
        for partition, end in enumerate(hub.ends()):
            offset = 0
            while offset < end:
                found = hub.read(partition, offset, max_events=1000, max_bytes=1 << 24)
                yield from found.bodies
                offset = found.next_offset


def assert_all_is_there_once(sandbox, job, events=EVENTS):
    """The rows, and the counts of the job: nothing is lost, doubled or set aside."""
    assert stored(sandbox, job) == Counter(event["doc"] for event in documents(0, events))
    with Namespace.open(sandbox.data, create=False) as namespace:
        counts = Progress(namespace).counts("store")
    assert counts == {"events_in": events, "rows_out": events, "dead": 0}
