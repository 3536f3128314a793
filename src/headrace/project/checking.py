"""Checking a project without running it: every problem at once, and how each job would run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headrace.connect.callable import PythonSettings
from headrace.connect.files import FileSettings
from headrace.connect.hub import HubSettings
from headrace.connect.table import TableSettings
from headrace.errors import HeadraceError, UserError, did_you_mean
from headrace.names import checked_name
from headrace.project.columns import columns_of
from headrace.project.dataset_checks import explained, reads_dataset
from headrace.project.files import feeds, input_notes, input_problem, output_problems
from headrace.project.functions import load_function, python_function
from headrace.project.partitions import hub_partitions, input_partitions
from headrace.project.project import Project
from headrace.project.settings import Place, place_of
from headrace.project.tolerant import Loaded, load_tolerantly
from headrace.sql.partitioning import cut, keeps_nothing, repartitions
from headrace.sql.plan import Script


@dataclass(slots=True)
class JobCheck:
    """One job as it would run; inputs, outputs and functions by their keys in the settings."""

    name: str
    inputs: dict[str, Place | None] = field(default_factory=dict)
    outputs: dict[str, Place | None] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ProjectCheck:
    """All that was found: `problems` of the settings themselves, and each job with its own."""

    file: Path
    jobs: list[JobCheck] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def problem_count(self) -> int:
        """How many problems there are in all."""
        return len(self.problems) + sum(len(job.problems) for job in self.jobs)


def check_project(path: Path, jobs: Sequence[str] = ()) -> ProjectCheck:
    """Check the settings and the given jobs, or all; raises `UserError` for a project that cannot be read.

    Functions are loaded, so the project's Python files are imported; nothing is run or made.
    """
    loaded = load_tolerantly(path)
    project = loaded.project
    check = ProjectCheck(project.file, problems=[*loaded.problems, *_place_problems(loaded)])
    check.problems += _file_problems(loaded)
    for name in jobs:
        if f"jobs.{name}" not in loaded.broken:
            project.job(name)
    check.problems += _function_problems(loaded)
    check.problems += _reference_problems(loaded)
    check.jobs = [_checked_job(loaded, name) for name in project.jobs if name in jobs or not jobs]
    return check


def _function_problems(loaded: Loaded) -> Iterator[str]:
    for name, settings in loaded.project.functions.items():
        if f"functions.{name}" in loaded.broken:
            continue
        try:
            load_function(loaded.project.folder, name, settings)
        except HeadraceError as error:
            yield _under(f"functions.{name}", error)
    for name, output in loaded.project.outputs.items():
        if isinstance(output, PythonSettings) and f"outputs.{name}" not in loaded.broken:
            path = f"outputs.{name}.python"
            try:
                python_function(loaded.project.folder, path, output.python or "")
            except HeadraceError as error:
                yield _under(path, error)


def _reference_problems(loaded: Loaded) -> Iterator[str]:
    for name in loaded.project.references:
        if f"inputs.{name}" in loaded.broken:
            continue
        try:
            loaded.project.reference(name)
        except HeadraceError as error:
            yield _under(f"inputs.{name}", error)


def _under(path: str, error: Exception) -> str:
    """Return the message of `error` with the key's path, unless it begins with that already."""
    return str(error) if str(error).startswith(path) else f"{path}: {error}"


# --- places -----------------------------------------------------------------------------------------------


def _place_problems(loaded: Loaded) -> Iterator[str]:
    """Yield names of hubs, queues and tables that cannot be."""
    sections = {"inputs": loaded.project.inputs, "outputs": loaded.project.outputs}
    for section, tables in sections.items():
        for key, settings in tables.items():
            place = place_of(key, settings)
            if place is None or place.kind == "file" or f"{section}.{key}" in loaded.broken:
                continue
            try:
                checked_name(place.name, place.kind)
            except UserError as error:
                yield f"{section}.{key}.{place.kind}: {error}"


def _file_problems(loaded: Loaded) -> Iterator[str]:
    """Yield paths of files that cannot be."""
    project = loaded.project
    for key, settings in project.inputs.items():
        if isinstance(settings, FileSettings) and f"inputs.{key}" not in loaded.broken:
            problem = input_problem(project.folder, key, settings, project.outputs.values())
            if problem is not None:
                yield problem
    whole = {key: output for key, output in project.outputs.items() if f"outputs.{key}" not in loaded.broken}
    yield from output_problems(project.folder, project.data, whole)


# --- jobs -------------------------------------------------------------------------------------------------


def _checked_job(loaded: Loaded, name: str) -> JobCheck:
    project, job = loaded.project, JobCheck(name)
    try:
        script = project.runnable_script(name)
    except UserError as error:
        is_setting = str(error).startswith(f"jobs.{name}")
        job.problems.append(str(error) if is_setting else f"{project.query_place(name)}: {error}")
        return job
    job.inputs = {key: _whole_place(loaded, "inputs", key) for key in script.inputs}
    outputs = dict.fromkeys(output.name for output in script.outputs)
    job.outputs = {key: _whole_place(loaded, "outputs", key) for key in outputs}
    job.functions = list(script.functions)
    job.problems += _key_problems(script, job)
    _explain(project, job, script)
    return job


def _whole_place(loaded: Loaded, section: str, key: str) -> Place | None:
    """Return the place of an input or output, None for one that is broken or has none."""
    if f"{section}.{key}" in loaded.broken:
        return None
    tables = loaded.project.inputs if section == "inputs" else loaded.project.outputs
    return place_of(key, tables[key])


def _key_problems(script: Script, job: JobCheck) -> Iterator[str]:
    """Yield key columns of outputs that a statement does not write."""
    for output in script.outputs:
        place, columns = job.outputs[output.name], columns_of(script, output.relation)
        if place is None or columns is None:
            continue
        for setting, column in _key_columns(place).items():
            if column is not None and column.casefold() not in {name.casefold() for name in columns}:
                written, hint = ", ".join(columns), did_you_mean(column, columns)
                problem = f"the query of job '{job.name}' writes no column '{column}', only {written}. {hint}"
                yield f"outputs.{output.name}.{setting}: {problem}".rstrip()


def _key_columns(place: Place) -> dict[str, str | None]:
    match place.settings:
        case TableSettings() as table:
            return {"partition_key": table.partition_key, "row_key": table.row_key}
        case HubSettings() as hub:
            return {"key": hub.key}
        case _:
            return {}


# --- how it runs ------------------------------------------------------------------------------------------


def _explain(project: Project, job: JobCheck, script: Script) -> None:
    """Say how the job's work is cut, and what about it may surprise."""
    if reads_dataset(project, script):
        runs, notes = explained(project, job.name, script)
        job.runs += runs
        job.notes += notes
    elif keeps_nothing(script):
        _explain_tasks(project, job)
    elif None not in job.inputs.values():
        _explain_state(project, job, script)
    written = [place for place in job.outputs.values() if place is not None]
    for place in job.inputs.values():
        if place is not None and any(feeds(project.folder, to, place) for to in written):
            job.notes.append(f"it reads and writes {place}: what it writes comes back to it")
        if place is not None and isinstance(place.settings, FileSettings):
            job.notes += input_notes(project.folder, place.settings)


def _explain_state(project: Project, job: JobCheck, script: Script) -> None:
    for place in job.inputs.values():
        if place is not None and place.kind == "hub":
            _partitions(project, job, place)  # for its note
    inputs = input_partitions(project, script.inputs)
    found = cut(script, inputs)
    job.runs.append(found.reason.removeprefix("runs "))
    if found.advice is not None:
        job.notes.append(found.advice)
    instances = project.jobs[job.name].instances
    steps = repartitions(script, inputs)
    tasks = max((steps.get(name) or inputs[name]).count for name in inputs) if found.per_partition else 1
    if tasks == 1 < instances:
        waiting = f"{instances - 1} of {instances} instances wait to take over when the first one dies"
        job.notes.append(waiting)
    elif tasks < instances:
        job.notes.append(f"{instances - tasks} of {instances} instances will have nothing to do")


def _explain_tasks(project: Project, job: JobCheck) -> None:
    instances = project.jobs[job.name].instances
    who = "1 instance" if instances == 1 else f"{instances} instances"
    tasks = 0
    for key, place in job.inputs.items():
        match place:
            case Place("hub"):
                partitions = _partitions(project, job, place)
                tasks += partitions
                cut = f"{partitions} tasks, one per partition" if partitions > 1 else "1 task, the partition"
                job.runs.append(f"as {cut} of hub '{place.name}', owned by {who}")
            case Place("queue"):
                takes = "1 instance takes" if instances == 1 else f"{who} compete for"
                job.runs.append(f"{takes} messages of queue '{place.name}'")
                tasks += instances
            case Place("file"):
                job.runs.append(f"as 1 task, files {place.name} in order of their names, owned by 1 instance")
                tasks += 1
            case _:
                job.runs.append(f"input '{key}' has a problem, see above")
                tasks += instances
    if tasks < instances:
        job.notes.append(f"{instances - tasks} of {instances} instances will have nothing to do")


def _partitions(project: Project, job: JobCheck, place: Place) -> int:
    """Return how many partitions the hub has, or will have once it is made."""
    assert isinstance(place.settings, HubSettings)
    wanted, found = place.settings.partitions, hub_partitions(project, place.name, place.settings)
    if found != wanted:
        job.notes.append(
            f"hub '{place.name}' was made with {found} partitions and keeps them; the setting {wanted} does "
            "not count"
        )
    return found
