"""`headrace new`, `check`, `doctor` and `web`: from an empty folder to a project that works."""

import dataclasses
import http.client
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from headrace.cli import main
from headrace.clock import ManualClock, SystemClock
from headrace.local.hub import Hub
from headrace.project import diagnosis
from headrace.project.latest import newest_events
from tests.integration.command import Commands


@pytest.fixture
def headrace(tmp_path, capsys):
    return Commands(tmp_path, capsys)


# --- new --------------------------------------------------------------------------------------------------


def test_a_new_project_works_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "first"]) == 0
    said = capsys.readouterr().out.splitlines()
    monkeypatch.chdir("first")
    for line in said[2:]:  # the first two are what was made, and cd
        words = line.split()
        assert words[0] == "headrace"
        command = [sys.executable, "-m", "headrace.cli", *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()[1:]}
    for paper, field in {
        "p1": "math",
        "p2": "compsci",
        "p3": "Physics",
        "p4": "bio",
        "p5": "finance",
    }.items():
        assert f" {field} " in rows[paper]


def test_the_new_settings_are_about_ten_lines():
    template = Path(diagnosis.__file__).parent / "templates" / "headrace.toml"
    settings = [line for line in template.read_text().splitlines() if line and not line.startswith("#")]
    assert len(settings) <= 10


def test_a_folder_that_is_not_empty_is_left_alone(headrace, capsys):
    before = (headrace.folder / "headrace.toml").read_bytes()
    assert main(["new", str(headrace.folder)]) == 2
    assert "it has a headrace.toml already" in capsys.readouterr().err
    assert main(["new", str(headrace.folder / "headrace.toml")]) == 2
    assert main(["new", str(headrace.folder / "deep" / "er"), "--json"]) == 0
    assert (headrace.folder / "headrace.toml").read_bytes() == before


# --- check ------------------------------------------------------------------------------------------------


def test_check_tells_how_each_job_runs(headrace):
    answer = headrace("check")
    assert answer.exit_code == 0
    assert answer.out.splitlines()[:4] == [
        "job copy",
        "  reads   hub 'papers'",
        "  writes  table 'titles'",
        "  runs    as 4 tasks, one per partition of hub 'papers', owned by 1 instance",
    ]
    assert "1 instance takes messages of queue 'work'" in answer.out
    assert "no problems in" in answer.out


def test_check_shows_every_problem_and_none_of_the_secrets(headrace, monkeypatch):
    monkeypatch.setenv("TOKEN", "t0p-secret")
    headrace.write(
        "headrace.toml",
        '[inputs.a]\nkind = "hub"\nhub = "${TOKEN}!"\npartition = 1\n[outputs.o]\nkind = "console"\n'
        '[jobs.j]\nsql = """SELECT id,\n  LENN(id)\nINTO o FROM a"""\n',
    )
    answer = headrace("check")
    assert answer.exit_code == 2
    assert "problem inputs.a.partition: no such setting. Did you mean 'partitions'?" in answer.out
    assert "problem jobs.j.sql: there is no function LENN (line 2, column 3)" in answer.out
    assert "              ^^^^" in answer.out
    document = headrace("check", "--json").document
    assert (document["ok"], document["jobs"][0]["name"]) == (False, "j")
    headrace.write("headrace.toml", '[inputs.a]\nkind = "hub"\nhub = "${TOKEN}!"\n')
    for words in (["check"], ["check", "--json"]):
        answer = headrace(*words)
        assert "'***!' cannot name a hub" in answer.out
        assert "t0p-secret" not in answer.out + answer.err


def test_check_reads_one_job_or_refuses_its_name(headrace):
    assert [job["name"] for job in headrace("check", "drain", "--json").document["jobs"]] == ["drain"]
    answer = headrace("check", "drian")
    assert (answer.exit_code, "Did you mean 'drain'?" in answer.err) == (2, True)


def test_a_hub_that_was_made_otherwise_is_noted(headrace):
    Hub.create(headrace.folder / ".headrace" / "hubs", "papers", partitions=2).close()
    out = headrace("check", "copy").out
    assert "as 2 tasks" in out
    assert "hub 'papers' was made with 2 partitions and keeps them" in out


# --- doctor -----------------------------------------------------------------------------------------------


def test_doctor_examines_this_machine_and_leaves_nothing_behind(headrace):
    before = sorted(headrace.folder.rglob("*"))
    document = headrace("doctor", "--json").document
    names = [finding["name"] for finding in document["findings"]]
    assert {"disk sync", "clock", "SQLite", "free space", "file system", "cores"} <= set(names)
    assert sorted(headrace.folder.rglob("*")) == before
    answer = headrace("doctor")
    assert len(answer.out.splitlines()) >= len(names)
    assert answer.exit_code == (0 if document["ok"] else 3)


def test_doctor_works_without_a_project_and_refuses_one_that_is_broken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) in {0, 3}
    assert main(["doctor", "--project", "missing"]) == 2
    (tmp_path / "headrace.toml").write_text("a = [")
    assert main(["doctor"]) == 2
    assert "is not TOML" in capsys.readouterr().err


def test_a_failure_is_told_with_advice_and_exit_code_3(headrace, monkeypatch):
    monkeypatch.setattr(SystemClock, "now_us", lambda _: 0)
    answer = headrace("doctor")
    assert answer.exit_code == 3
    assert "fail  clock            1970-01-01" in answer.out
    assert "set the clock" in answer.out


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (diagnosis.disk_sync([0.4, 1.0, 90.0]), "ok"),
        (diagnosis.disk_sync([0.002, 0.003, 5.0]), "warn"),
        (diagnosis.disk_sync([80.0, 90.0, 100.0]), "warn"),
        (diagnosis.free_space(500 * 1024**3), "ok"),
        (diagnosis.free_space(1024**3), "warn"),
        (diagnosis.free_space(1024**2), "fail"),
        (diagnosis.sqlite("3.51.3"), "ok"),
        (diagnosis.sqlite("3.40.1"), "fail"),
        (diagnosis.wall_clock(ManualClock().now_us()), "ok"),
        (diagnosis.wall_clock(0), "fail"),
    ],
)
def test_each_finding_is_judged_and_has_advice_unless_it_is_well(finding, verdict):
    assert finding.verdict == verdict
    assert bool(finding.advice) == (verdict != "ok")


MOUNTS = """\
21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 21 0:25 / /srv rw - nfs4 server:/srv rw
31 30 8:2 / /srv/local\\040disk rw - xfs /dev/sdb rw
32 21 0:26 / /dev/shm rw - tmpfs tmpfs rw
33 21 0:27 / /box rw - overlay overlay rw
34 21 0:28 / /host rw - 9p host rw
"""


@pytest.mark.parametrize(
    ("place", "kind", "verdict"),
    [
        ("/data", "ext4", "ok"),
        ("/srv/data", "nfs4", "fail"),
        ("/srv/local disk/data", "xfs", "ok"),
        ("/srvice", "ext4", "ok"),
        ("/dev/shm/x", "tmpfs", "warn"),
        ("/box", "overlay", "warn"),
        ("/host/x", "9p", "warn"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(place, kind, verdict):
    finding = diagnosis.file_system(Path(place), MOUNTS)
    assert (finding.verdict, finding.found.split(",")[0]) == (verdict, kind)
    assert dataclasses.replace(diagnosis.file_system(Path(place), "")).verdict == "ok"


def test_a_folder_that_cannot_be_written_fails(tmp_path, monkeypatch):
    def refused(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(diagnosis.tempfile, "TemporaryFile", refused)
    first = diagnosis.diagnose(tmp_path / "not" / "there", SystemClock())[0]
    assert (first.verdict, "Permission denied" in first.found) == ("fail", True)


# --- web --------------------------------------------------------------------------------------------------

PUBLISHED = """
[inputs.papers]
kind = "hub"
[publish]
port = 0
[publish.keys]
sender = "${SENDER_KEY}"
"""


def post(url, token, body):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("POST", "/papers/messages", body, {"Authorization": token})
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_endpoint_publishes_until_it_is_told_to_end(headrace, monkeypatch):
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    monkeypatch.setenv("SENDER_KEY", "a-key-for-tests")
    headrace.write("headrace.toml", PUBLISHED)
    token = headrace("web", "--token", "papers").out.strip()
    command = [sys.executable, "-m", "headrace.cli", "web", "--json", "--project", str(headrace.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        lines = []
        while (line := server.stdout.readline()) not in {b"}\n", b""}:
            lines.append(line)
        url = json.loads(b"".join([*lines, b"}"]))["url"]
        assert post(url, token, b"one") == 201
        assert post(url, token.replace("sig=", "sig=A"), b"two") == 401
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=30)
    assert (server.returncode, b"stopped" in err) == (0, True)
    with Hub.open(headrace.folder / ".headrace" / "hubs", "papers") as hub:
        assert [event.body for event in newest_events(hub, 10)] == [b"one"]


def test_a_token_opens_its_hub_for_a_while(headrace, monkeypatch):
    monkeypatch.setenv("SENDER_KEY", "a-key-for-tests")
    headrace.write("headrace.toml", PUBLISHED)
    document = headrace("web", "--token", "papers", "--hours", 1, "--json").document
    assert document["authorization"].startswith("SharedAccessSignature sr=")
    assert 3500 < document["expires_s"] - time.time() <= 3600
    assert headrace("web", "--token", "paper").exit_code == 2


@pytest.mark.parametrize(
    ("project", "message"),
    [
        ('[inputs.papers]\nkind = "hub"\n', "publish.keys is missing"),
        ('[inputs.papers]\nkind = "hub"\n[publish]\nhost = "0.0.0.0"\n', "publish.keys is missing"),
        ('[publish]\nport = 0\n[publish.keys]\na = "secret-key"\n', "declares no hub"),
        (PUBLISHED.replace("port = 0", 'host = "203.0.113.1"\nport = 1'), "cannot listen on 203.0.113.1:1"),
    ],
)
def test_an_endpoint_that_cannot_be_served_safely_is_refused(headrace, monkeypatch, project, message):
    monkeypatch.setenv("SENDER_KEY", "a-key-for-tests")
    headrace.write("headrace.toml", project)
    answer = headrace("web")
    assert (answer.exit_code, message in answer.err) == (2, True), answer.err


# --- every verb -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["send", "papers", "a.jsonl"],
        ["sample", "papers"],
        ["peek", "titles"],
        ["dead-letters"],
        ["check"],
        ["web"],
        ["doctor"],
    ],
)
@pytest.mark.parametrize("damage", ["missing", "not toml", "newer"])
def test_an_unreadable_project_is_told_without_a_traceback(headrace, words, damage):
    settings = headrace.folder / "headrace.toml"
    if damage == "newer":
        settings.write_text('[future]\nx = "y"\n')
    elif damage == "not toml":
        settings.write_text("a = [")
    else:
        settings.unlink()
    assert headrace(*words).exit_code == 2


@pytest.mark.parametrize("words", [["send", "work", "a.jsonl"], ["peek", "titles"], ["dead-letters"]])
@pytest.mark.parametrize(
    ("content", "exit_code", "message"),
    [(b"not a database" * 100, 3, "is damaged"), (None, 2, "written by a newer Headrace")],
)
def test_an_unreadable_namespace_is_told_without_a_traceback(
    headrace, monkeypatch, words, content, exit_code, message
):
    headrace.write("a.jsonl", '{"id": 1}')
    monkeypatch.chdir(headrace.folder)
    assert headrace("send", "work", "a.jsonl").exit_code == 0
    database = headrace.folder / ".headrace" / "namespace.db"
    if content is not None:
        for leftover in database.parent.glob("namespace.db-*"):
            leftover.unlink()
        database.write_bytes(content)
    else:
        make_newer(database)
    answer = headrace(*words)
    assert (answer.exit_code, message in answer.err) == (exit_code, True), answer.err


def make_newer(database):
    import apsw

    connection = apsw.Connection(str(database))
    connection.pragma("user_version", 99)
    connection.close()


# --- run and stop -----------------------------------------------------------------------------------------


def test_a_run_tells_what_it_did_and_not_what_runs_before_it_did(headrace):
    assert headrace("send", "papers", headrace.write("papers.jsonl", '{"id": 1}\n{"id": 2}\n')).exit_code == 0
    told = [headrace.process("run", "copy", "--until-end", "--json").stdout for _ in range(2)]
    first, second = (json.loads(text)["jobs"]["copy"] for text in told)
    assert (first["events_in"], first["rows_out"]) == (2, 2)
    assert (second["events_in"], second["rows_out"]) == (0, 0)


def test_a_mistake_is_told_once_though_an_instance_was_on_its_way(headrace):
    refused = headrace.process("run", "copied")
    assert refused.returncode == 2
    assert refused.stderr.count(b"no job is called 'copied'") == 1
    assert refused.stderr.count(b"headrace:") == 1


def test_without_a_name_the_first_instance_belongs_to_the_first_job(headrace):
    assert headrace("send", "papers", headrace.write("papers.jsonl", '{"id": 1}\n')).exit_code == 0
    done = headrace.process("run", "--until-end", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["jobs"]["copy"]["rows_out"] == 1


def test_stopping_where_nothing_ever_ran_is_no_mistake(headrace):
    answer = headrace("stop")
    assert (answer.exit_code, answer.out) == (0, "no job was running\n")
