"""Settings: typed values from headrace.toml, errors with the key's path, secrets that never show."""

import re

import pytest

from headrace.connect.hub import HubSettings
from headrace.connect.queue import QueueSettings
from headrace.connect.table import TableSettings
from headrace.errors import QueryError, UserError
from headrace.local.hub import Hub
from headrace.project import Project
from headrace.project.checking import check_project
from headrace.project.functions import load_function, python_function
from headrace.project.partitions import input_partitions
from headrace.project.places import find_place
from headrace.project.settings import FunctionSettings
from headrace.redaction import redacted
from headrace.sql.partitioning import InputPartitions

WHOLE = """
[project]
data = "stored"

[inputs.papers]
kind = "hub"
partitions = 2

[inputs.work]
kind = "queue"
queue = "jobs"

[outputs.rows]
kind = "table"
row_key = "id"

[functions.double]
python = "own.py:double"

[jobs.copy]
query = "copy.sql"
instances = 2

[publish]
port = 0
"""


@pytest.fixture
def project(tmp_path):
    def write(text, **files):
        (tmp_path / "headrace.toml").write_text(text)
        for name, content in files.items():
            (tmp_path / name.replace("_", ".")).write_text(content)
        return tmp_path

    return write


def test_settings_are_read_from_a_file_or_its_folder(project):
    folder = project(WHOLE, copy_sql="SELECT id INTO rows FROM papers")
    for path in (folder, folder / "headrace.toml", str(folder)):
        loaded = Project.load(path)
        assert loaded.data == (folder / "stored").resolve()
        assert loaded.inputs == {"papers": HubSettings(partitions=2), "work": QueueSettings(queue="jobs")}
        assert loaded.outputs == {"rows": TableSettings(row_key="id")}
        assert loaded.jobs["copy"].instances == 2
        assert loaded.script("copy").inputs == ("papers",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[projects]\n", "projects: no such section; there are project, inputs"),
        ("[projects]\n", "Did you mean 'project'?"),
        ("inputs = 3\n", "inputs: expected tables such as [inputs.something]"),
        ('[inputs]\na = "hub"\n', "inputs.a: expected a table, written [inputs.a]"),
        ("[inputs.a]\n", "inputs.a.kind is missing: expected one of hub, queue"),
        ('[inputs.a]\nknid = "hub"\nkey = "k"\n', "a.kind is missing: expected one of hub, queue"),
        ('[inputs.a]\nknid = "hub"\nkey = "k"\n', ". Did you mean 'kind', where it says 'knid'?"),
        (
            '[inputs.a]\nkind = "hubb"\n',
            "inputs.a.kind: expected one of hub, queue, topic, file, dataset, reference, found 'hubb'",
        ),
        ('[inputs.a]\nkind = "hubb"\n', "Did you mean 'hub'?"),
        ('[inputs.a]\nkind = "table"\n', "inputs.a.kind: expected one of hub, queue"),
        ('[inputs.a]\nkind = "hub"\npartitons = 2\n', "inputs.a.partitons: no such setting"),
        ('[outputs.a]\nkind = "console"\nx = 2\n', "outputs.a.x: no such setting. Known keys: none"),
        ('[inputs.a]\nkind = "hub"\npartitons = 2\n', "Did you mean 'partitions'?"),
        ('[inputs.a]\nkind = "hub"\npartitions = "2"\n', "inputs.a.partitions: "),
        ('[inputs."a/b"]\nkind = "hub"\n', "'a/b' cannot name"),
        ("[jobs.j]\ninstances = 1.5\n", "jobs.j.instances: "),
        ("[publish]\nkeys = 1\n", "publish.keys: "),
        ("[project]\ndata = 1\n", "project.data: "),
        ("a = [", "is not TOML"),
    ],
)
def test_a_wrong_setting_is_named_by_its_path_with_what_was_expected(project, text, message):
    with pytest.raises(UserError) as caught:
        Project.load(project(text))
    assert message in str(caught.value)


def test_a_project_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match="headrace new FOLDER"):
        Project.load(tmp_path)


def test_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / "headrace.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"cannot read .*headrace\.toml"):
        Project.load(tmp_path)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("", "jobs.j: give either query"),
        ('query = "a.sql"\nsql = "SELECT 1"', "jobs.j: give either query"),
        ('query = "a.sql"', "jobs.j.query: cannot read"),
        ('sql = "SELECT id INTO rows FROM paper"', "Did you mean 'papers'?"),
        ('sql = "SELECT id INTO row FROM papers"', "Did you mean 'rows'?"),
        ('sql = "SELECT doubel(id) AS d INTO rows FROM papers"', "Did you mean 'double'?"),
    ],
)
def test_a_wrong_job_is_told_when_its_query_is_asked_for(project, job, message):
    loaded = Project.load(project(WHOLE + f"\n[jobs.j]\n{job}\n"))
    with pytest.raises(UserError) as caught:
        loaded.script("j")
    assert message in str(caught.value)


def test_an_unknown_job_gets_the_nearest_name(project):
    with pytest.raises(UserError, match="Did you mean 'copy'"):
        Project.load(project(WHOLE)).job("copi")


def test_a_query_error_has_line_column_and_the_underlined_text(project):
    loaded = Project.load(project(WHOLE, copy_sql="SELECT id,\n  LENN(id) AS n\nINTO rows FROM papers\n"))
    with pytest.raises(QueryError) as caught:
        loaded.script("copy")
    assert (caught.value.line, caught.value.column) == (2, 3)
    assert "  LENN(id) AS n\n    ^^^^" in str(caught.value)


def test_secrets_come_from_the_environment_or_a_file_and_are_never_shown(project, monkeypatch):
    monkeypatch.setenv("SENDER_KEY", "environment-secret")
    folder = project('[publish.keys]\na = "${SENDER_KEY}"\nb = "${file:key_txt}"\n')
    (folder / "key_txt").write_text("secret-of-file\n")
    assert Project.load(folder).publish.keys == {"a": "environment-secret", "b": "secret-of-file"}
    assert redacted("a environment-secret b secret-of-file") == "a *** b ***"


def test_a_project_can_be_printed_without_its_keys(project):
    shown = repr(Project.load(project('[publish]\nkeys = { sender = "written-in-the-file" }\n')))
    assert "'sender': '***'" in shown
    assert "written-in-the-file" not in shown


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${NOT_SET_ANYWHERE}", "NOT_SET_ANYWHERE is not set"),
        ("${file:no}", "cannot read the secret file 'no'"),
    ],
)
def test_a_secret_that_is_not_there_names_the_key(project, value, message):
    with pytest.raises(UserError, match=f"publish.keys.a: .*{message}"):
        Project.load(project(f'[publish.keys]\na = "{value}"\n'))


# --- names of places --------------------------------------------------------------------------------------


def test_a_place_is_found_by_its_key_and_by_its_own_name(project):
    loaded = Project.load(project(WHOLE))
    for name in ("work", "jobs"):
        place = find_place(loaded, name, ("hub", "queue"), "to send to")
        assert (place.kind, place.name) == ("queue", "jobs")
    with pytest.raises(UserError, match="'rows' is the table 'rows'; a hub or queue is needed to send to"):
        find_place(loaded, "rows", ("hub", "queue"), "to send to")
    with pytest.raises(UserError, match=r"there are: jobs, papers, work\. Did you mean 'papers'"):
        find_place(loaded, "papres", ("hub", "queue"), "to send to")


def test_an_input_and_an_output_of_one_name_are_one_place_only_if_they_are_the_same(project):
    same = '[inputs.a]\nkind = "queue"\n[outputs.a]\nkind = "queue"\nmax_deliveries = 9\n'
    place = find_place(Project.load(project(same)), "a", ("queue",), "to send to")
    assert place.settings == QueueSettings()
    other = '[inputs.a]\nkind = "hub"\n[outputs.a]\nkind = "queue"\n'
    with pytest.raises(UserError, match="names hub 'a' and queue 'a'"):
        find_place(Project.load(project(other)), "a", ("hub", "queue"), "to send to")


# --- checking ---------------------------------------------------------------------------------------------

BROKEN = """
[inputs.a]
kind = "hubb"
[inputs.b]
kind = "hub"
partitons = 2
retention_hours = "long"
[inputs.c]
kind = "queue"
visibility_timeout_s = 0
[inputs.d]
kind = "queue"
queue = "../d"
[outputs.o]
kind = "table"
row_key = "idd"
[functions.f]
model = "${NOT_SET_ANYWHERE}"
[jobs.one]
sql = "SELECT id, f(x) AS y INTO o FROM a"
[jobs.two]
sql = "SELECT id INTO o FROM nowhere"
[jobs.three]
instances = "many"
"""


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("partitions = 0", "inputs.papers.partitions: expected a whole number >= 1"),
        ("partitions = 9999", "inputs.papers.partitions: expected a whole number <= 256"),
        ("partitions = 'four'", "inputs.papers.partitions: expected a whole number, found a text"),
        ("retention_hours = -1", "inputs.papers.retention_hours: expected a number >= 0"),
    ],
)
def test_a_number_out_of_its_bounds_is_told_by_its_key(project, setting, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Project.load(project(f"[inputs.papers]\nkind = 'hub'\n{setting}\n"))


def test_all_problems_are_found_at_once_and_no_name_is_blamed_for_its_broken_settings(project):
    check = check_project(project(BROKEN))
    problems = [problem.partition(": ")[0] for problem in check.problems]
    assert problems == [
        "inputs.a.kind",
        "inputs.b.partitons",
        "inputs.b.retention_hours",
        "inputs.c.visibility_timeout_s",
        "functions.f.model",
        "jobs.three.instances",
        "inputs.d.queue",
    ]
    by_job = {job.name: job.problems for job in check.jobs}
    assert [problem.partition(": ")[0] for problem in by_job["one"]] == ["outputs.o.row_key"]
    assert "'nowhere' (line 1, column 23)" in by_job["two"][0]
    assert check.problem_count == 9


def test_a_whole_project_has_no_problems_and_tells_how_it_runs(project):
    folder = project(
        WHOLE + '[jobs.pull]\nsql = "SELECT double(id) AS id INTO rows FROM work"\ninstances = 3\n',
        copy_sql="SELECT * INTO rows FROM papers",
        own_py="def double(x):\n    return 2 * x\n",
    )
    check = check_project(folder)
    assert check.problem_count == 0
    runs = {job.name: job.runs for job in check.jobs}
    assert runs == {
        "copy": ["as 2 tasks, one per partition of hub 'papers', owned by 2 instances"],
        "pull": ["3 instances compete for messages of queue 'jobs'"],
    }
    assert not (folder / "stored").exists()


def test_instances_without_work_and_a_circle_are_noted(project):
    check = check_project(
        project(
            '[inputs.a]\nkind = "hub"\n[outputs.b]\nkind = "hub"\nhub = "a"\n'
            '[jobs.j]\nsql = "SELECT x INTO b FROM a"\ninstances = 6\n'
        )
    )
    assert check.jobs[0].notes == [
        "2 of 6 instances will have nothing to do",
        "it reads and writes hub 'a': what it writes comes back to it",
    ]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT ID, x INTO o FROM a", None),
        ("SELECT * INTO o FROM a", None),
        ("SELECT r.* INTO o FROM a", None),
        ("WITH s AS (SELECT x AS id FROM a) SELECT * INTO o FROM s", None),
        ("WITH s AS (SELECT x AS idd FROM a) SELECT * INTO o FROM s", "only idd. Did you mean 'idd'?"),
        ("SELECT x INTO o FROM a UNION SELECT id AS x FROM a", "only x"),
        ("SELECT id INTO o FROM a; SELECT x INTO o FROM a", "only x"),
    ],
)
def test_a_key_column_that_the_query_does_not_write_is_found_where_the_query_names_all(
    project, query, problem
):
    check = check_project(
        project(
            '[inputs.a]\nkind = "hub"\n[outputs.o]\nkind = "table"\nrow_key = "id"\n'
            f'[jobs.j]\nsql = "{query}"\n'
        )
    )
    found = check.jobs[0].problems
    assert (found == []) if problem is None else (problem in found[0])


AGGREGATE = """
class Spread:
    def accumulate(self, value, timestamp):
        pass
    def compute_result(self):
        return 0
"""


def test_a_class_of_the_file_that_accumulates_is_an_aggregate_and_its_file_is_not_run_to_tell(tmp_path):
    (tmp_path / "headrace.toml").write_text(
        '[inputs.a]\nkind = "hub"\n[outputs.b]\nkind = "console"\n'
        '[functions.spread]\npython = "f.py:Spread"\n'
        '[jobs.j]\nsql = "SELECT uda.spread(v) AS s INTO b FROM a GROUP BY TumblingWindow(second, 1)"\n'
    )
    (tmp_path / "f.py").write_text(AGGREGATE + "raise SystemExit\n")
    loaded = Project.load(tmp_path)
    assert loaded.aggregates == ["spread"]
    assert loaded.script("j").functions == ("spread",)


def test_an_aggregate_that_comes_from_elsewhere_is_refused_when_it_is_loaded(tmp_path):
    (tmp_path / "f.py").write_text(AGGREGATE.replace("Spread", "Base") + "class Spread(Base):\n    pass\n")
    with pytest.raises(UserError, match="must be a class of that file, with its accumulate"):
        load_function(tmp_path, "spread", FunctionSettings(python="f.py:Spread"))


def test_reference_data_that_cannot_be_read_is_a_problem_of_the_settings(tmp_path):
    (tmp_path / "headrace.toml").write_text(
        '[inputs.a]\nkind = "reference"\npath = "no.csv"\n[inputs.b]\nkind = "reference"\n'
    )
    problems = check_project(tmp_path).problems
    assert len(problems) == 2
    assert "cannot read" in problems[0]
    assert problems[1].startswith("inputs.b.path is missing")


def test_a_job_with_state_runs_as_one_task_and_the_check_says_who_waits(tmp_path):
    (tmp_path / "headrace.toml").write_text(
        '[inputs.a]\nkind = "hub"\n[outputs.b]\nkind = "console"\n[jobs.j]\ninstances = 3\n'
        'sql = "SELECT COUNT(*) AS n INTO b FROM a GROUP BY TumblingWindow(second, 1)"\n'
    )
    [job] = check_project(tmp_path).jobs
    lacks = "GROUP BY (line 1) does not contain a column by which a is partitioned"
    assert job.runs == [f"as one task, because {lacks}"]
    assert job.notes == ["2 of 3 instances wait to take over when the first one dies"]


def test_a_job_that_runs_per_partition_has_as_many_tasks_as_its_inputs_are_spread_over(tmp_path):
    window = "TumblingWindow(second, 1)"
    (tmp_path / "headrace.toml").write_text(
        '[inputs.a]\nkind = "hub"\nkey = "k"\npartitions = 2\n[outputs.b]\nkind = "console"\n'
        "[jobs.own]\ninstances = 3\n"
        f'sql = "SELECT COUNT(*) AS n INTO b FROM a GROUP BY k, {window}"\n'
        "[jobs.spread]\ninstances = 9\n"
        f'sql = "SELECT COUNT(*) AS n INTO b FROM a PARTITION BY g INTO 8 GROUP BY g, {window}"\n'
        "[jobs.one]\ninstances = 1\n"
        f'sql = "SELECT COUNT(*) AS n INTO b FROM a GROUP BY g, {window}"\n'
    )
    own, spread, one = check_project(tmp_path).jobs
    assert own.runs == ["as 2 tasks, one per partition of a: GROUP BY contains k"]
    assert own.notes == ["1 of 3 instances will have nothing to do"]
    assert spread.runs[0].startswith("as 8 tasks, one per partition of a (repartitioned by g)")
    assert spread.notes == ["1 of 9 instances will have nothing to do"]
    assert one.notes == ["PARTITION BY g behind a would spread it"]


def test_an_input_has_the_partitions_that_its_hub_was_made_with(tmp_path):
    (tmp_path / "headrace.toml").write_text(
        '[inputs.a]\nkind = "hub"\nhub = "own"\nkey = "k"\n[inputs.b]\nkind = "hub"\n'
        '[inputs.q]\nkind = "queue"\n'
    )
    project = Project.load(tmp_path)
    Hub.create(project.data / "hubs", "own", partitions=7).close()
    assert input_partitions(project, ["a", "b", "q"]) == {
        "a": InputPartitions(7, "k"),
        "b": InputPartitions(4),
    }


def test_what_is_a_setting_of_inputs_only_is_refused_at_outputs(project):
    hub = '[outputs.o]\nkind = "hub"\nformat = "csv"\n'
    queue = '[outputs.o]\nkind = "queue"\ndelimiter = ";"\n'
    for text, key in ((hub, "format"), (queue, "delimiter")):
        with pytest.raises(UserError, match=rf"^outputs\.o\.{key}: rows are JSON"):
            Project.load(project(text))
    assert any("outputs.o.delimiter" in problem for problem in check_project(project(queue)).problems)


def test_what_becomes_of_bad_events_is_said_of_inputs_that_are_there(project):
    text = '[inputs.papers]\nkind = "hub"\n[jobs.j]\nsql = "SELECT 1"\non_bad = { paper = "drop" }\n'
    with pytest.raises(UserError, match=r"^jobs\.j\.on_bad\.paper: .* Did you mean 'papers'\?$"):
        Project.load(project(text))


def test_a_word_that_a_setting_does_not_know_is_answered_with_those_that_it_does(project):
    text = '[inputs.i]\nkind = "file"\npath = "i"\nformat = "parket"\n'
    message = r"^inputs\.i\.format: expected one of json, csv, avro, parquet, found 'parket'. Did you mean"
    with pytest.raises(UserError, match=message):
        Project.load(project(text))


def test_a_subscription_may_have_messages_in_another_format(project):
    text = '[inputs.i]\nkind = "topic"\ntopic = "t"\nsubscription = "s"\nformat = "csv"\ndelimiter = ";"\n'
    read = Project.load(project(text)).inputs["i"]
    assert isinstance(read, QueueSettings)
    assert (read.format, read.delimiter) == ("csv", ";")


def test_the_function_of_an_output_is_looked_for_before_a_job_runs(project):
    text = '[outputs.o]\nkind = "python"\npython = "own.py:nope"\n'
    [missing] = check_project(project(text)).problems
    [unknown] = check_project(project(text, own_py="def store(rows):\n    pass\n")).problems
    assert missing.startswith("outputs.o.python")
    assert unknown.startswith("outputs.o.python")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = 1 / 0\n", "functions.py, line 2 fails to load: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit()\n", "functions.py, line 2 fails to load: SystemExit: "),
        ("def f(a) return a\n", "functions.py fails to load: SyntaxError: "),
        (None, "there is no file "),
    ],
)
def test_a_file_of_functions_that_cannot_be_loaded_is_told_with_its_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "functions.py").write_text(text)
    with pytest.raises(UserError) as caught:
        python_function(tmp_path, "functions.f.python", "functions.py:f")
    assert str(caught.value).startswith("functions.f.python: ")
    assert message in str(caught.value)
