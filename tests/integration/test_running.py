"""A run begins where another left off, or is only just ending."""

from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.staged import StagedFile
from headrace.project import Project
from headrace.project.running import run_of

SETTINGS = """
[inputs.events]
kind = "hub"
[outputs.rows]
kind = "file"
path = "rows.jsonl"
[jobs.job]
sql = "SELECT id INTO rows FROM events"
"""


def test_what_an_instance_left_behind_is_about_to_commit_is_not_cut_off_its_file(tmp_path):
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    project, rows = Project.load(tmp_path), tmp_path / "rows.jsonl"
    with Namespace.open(project.data) as namespace:
        StagedFile(namespace, "job", "instance-0", "rows").begin("rows.jsonl")
        rows.write_bytes(b'{"id":1}\n')
        left_behind = Progress(namespace).acquire("job", "instance-0", "instance-0")
        with run_of(project, ["job"]):
            assert rows.read_bytes() == b'{"id":1}\n'
        left_behind.release()
        with run_of(project, ["job"]):
            assert rows.read_bytes() == b""
