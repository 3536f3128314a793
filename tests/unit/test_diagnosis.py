"""What `headrace doctor` finds in the files that are stored already."""

from headrace.clock import SystemClock
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.project.diagnosis import diagnose


def verdicts(folder):
    return {finding.name: finding for finding in diagnose(folder, SystemClock())}


def test_whole_files_are_said_to_be_whole(tmp_path):
    Namespace.open(tmp_path).close()
    Hub.create(tmp_path / "hubs", "papers").close()
    found = verdicts(tmp_path)
    assert found["namespace.db"].verdict == found["papers.db"].verdict == "ok"


def test_a_file_that_is_no_database_and_one_with_a_damaged_schema_fail(tmp_path):
    with Hub.create(tmp_path / "hubs", "papers") as hub:
        hub.publish_bodies([b"x" * 100] * 10_000)
    path = tmp_path / "hubs" / "papers.db"
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xa5" * 3996
    path.write_bytes(content)
    (tmp_path / "namespace.db").write_bytes(b"not a database" * 1000)
    found = verdicts(tmp_path)
    assert found["namespace.db"].verdict == found["papers.db"].verdict == "fail"
    assert "put back a copy" in found["papers.db"].advice


def test_a_file_that_cannot_be_read_here_is_not_called_damaged(tmp_path, monkeypatch):
    with Hub.create(tmp_path / "hubs", "papers") as hub:
        hub.publish_bodies([b"x"])
        left = [tmp_path / "hubs" / f"papers.db{suffix}" for suffix in ("", "-wal")]
        kept = {path: path.read_bytes() for path in left}
    for path, content in kept.items():
        path.write_bytes(content)
    monkeypatch.setattr("headrace.project.diagnosis.may_write", lambda _path: False)
    found = verdicts(tmp_path)["papers.db"]
    assert found.verdict == "warn"
    assert "was not closed in order" in found.found
