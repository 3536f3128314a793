"""A hub as an output: the column that chooses the partition."""

import json

from headrace.engine.job import Instance
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.project import Project
from headrace.project.opening import opened_job
from headrace.project.sending import send

SETTINGS = """
[inputs.events]
kind = "hub"
partitions = 1

[outputs.sorted]
kind = "hub"
partitions = 4
key = "sensor"

[jobs.sort]
sql = "SELECT Sensor, n INTO sorted FROM events"
"""


def test_rows_with_one_value_in_the_key_column_share_a_partition_in_their_order(tmp_path):
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    send("events", [{"sensor": f"s{n % 8}", "n": n} for n in range(40)], project=tmp_path)
    project = Project.load(tmp_path)
    with Namespace.open(project.data) as namespace:
        Progress(namespace).request_stop("sort", "end")
        with opened_job(project, namespace, "sort", 0) as opened:
            Instance(opened, namespace).run()
        with Hub.open(namespace.hubs_folder, "sorted") as hub:
            found = [hub.read(p, 0, max_events=100, max_bytes=1 << 20) for p in range(4)]
    homes = {}
    for partition, events in enumerate(found):
        for event in map(json.loads, events.bodies):
            homes.setdefault(event["Sensor"], []).append((partition, event["n"]))
    assert len(homes) == 8
    assert len({partition for home in homes.values() for partition, _ in home}) > 1
    for home in homes.values():
        assert len({partition for partition, _ in home}) == 1
        assert [n for _, n in home] == sorted(n for _, n in home)
        assert len(home) == 5
