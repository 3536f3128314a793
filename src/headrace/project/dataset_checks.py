"""Jobs over the files of tenants: what of a project they may be made of, and how they run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headrace.errors import QueryError, Span, UserError
from headrace.events.batch import ValueType
from headrace.local.namespace import Namespace
from headrace.project.columns import columns_of
from headrace.series.output_settings import SeriesSettings
from headrace.sql.partitioning import keeps_nothing
from headrace.sql.pass_through import passes_through
from headrace.sql.plan import NOWHERE, Output, Script, Table, scans

if TYPE_CHECKING:  # a project checks itself by this module
    from headrace.project.project import Project

#: What the rows of a dataset and of a series output consist of.
COLUMNS: Final = {"tag": ValueType.TEXT, "time": ValueType.DATETIME, "value": ValueType.FLOAT}


def reads_dataset(project: Project, script: Script) -> bool:
    """Tell whether a query reads files of tenants."""
    return any(name in project.datasets for name in script.inputs)


def check_dataset_job(project: Project, script: Script) -> None:
    """Raise QueryError, at its place, for what makes no sense with datasets or series outputs."""
    dataset = next((name for name in script.inputs if name in project.datasets), None)
    for output in script.outputs:
        if isinstance(project.outputs.get(output.name), SeriesSettings):
            if dataset is None:
                problem = f"output '{output.name}' is a series, which only jobs that read a dataset write"
                advice = 'Read an input of kind = "dataset", or write another kind of output.'
                raise QueryError(problem, script.text, _span(output), advice=advice)
            _check_columns(script, dataset, output)
    if dataset is not None and len(script.inputs) > 1:
        other = next(name for name in script.inputs if name != dataset)
        span = next(scan.span for scan in scans(script) if scan.input == other)
        problem = f"a job that reads the dataset '{dataset}' reads no other stream, and '{other}' is one"
        advice = (
            "Each file is a stream of its own, which ends. Join it with reference data, or read it alone."
        )
        raise QueryError(problem, script.text, span, advice=advice)


def check_dataset_settings(project: Project, job: str) -> None:
    """Raise `UserError` for settings of bad events, which a job that reads a dataset would not follow."""
    settings = project.job(job)
    for key, is_given in (
        ("on_bad", settings.on_bad != "dead-letter"),
        ("max_bad_share", settings.max_bad_share is not None),
    ):
        if is_given:
            raise UserError(
                f"jobs.{job}.{key}: a job that reads a dataset makes dead letters of bad lines, and sets "
                "files aside by max_bad_share of its input. Leave it out"
            )


def _check_columns(script: Script, dataset: str, output: Output) -> None:
    columns = columns_of(_described(script, dataset), output.relation)
    if columns is None or sorted(name.casefold() for name in columns) == sorted(COLUMNS):
        return
    problem = (
        f"series output '{output.name}' takes the columns tag, time and value, and the query writes "
        f"{', '.join(columns)}"
    )
    advice = "Name them by AS, and write others to another output."
    raise QueryError(problem, script.text, _span(output), advice=advice)


def _span(output: Output) -> Span:
    return output.span if output.span != NOWHERE else getattr(output.relation, "span", Span(0, 1))


def _described(script: Script, dataset: str) -> Script:
    """Return a script that says which columns the dataset has."""
    if any(table.input == dataset for table in script.tables):
        return script
    return replace(script, tables=(*script.tables, Table(dataset, tuple(COLUMNS.items()))))


def passed(project: Project, script: Script) -> list[str]:
    """Return the series outputs that take the points of files as they are; those cost no query."""
    return [output.name for output in script.outputs if is_passed(project, script, output)]


def is_passed(project: Project, script: Script, output: Output) -> bool:
    """Tell whether an output is a series that takes the points of files as they are."""
    is_series = isinstance(project.outputs.get(output.name), SeriesSettings)
    return is_series and passes_through(script, output, COLUMNS)


def explained(project: Project, job: str, script: Script) -> tuple[list[str], list[str]]:
    """Return how a job over files runs, and what may surprise about it, in sentences for people."""
    settings = project.job(job)
    threads = settings.instances * settings.threads
    name = next(name for name in script.inputs if name in project.datasets)
    queue = project.datasets[name].queue or name
    who = "1 thread takes" if threads == 1 else f"{threads} threads in {settings.instances} processes take"
    runs = [f"{who} files from queue '{queue}', {project.datasets[name].batch} at a time, tenants in turn"]
    raw = passed(project, script)
    if raw:
        runs.append(f"points go to {', '.join(map(repr, raw))} as they are: the query costs nothing")
    if len(raw) < len(script.outputs):
        how = "piece by piece" if keeps_nothing(script) else "whole: time runs out at its end"
        runs.append(f"the query runs over each file by itself, {how}")
    notes = [
        f"output '{output}' has the layout \"files\": a process that dies may leave lines twice"
        for output in dict.fromkeys(output.name for output in script.outputs)
        if getattr(project.outputs.get(output), "layout", "") == "files"
    ]
    return runs, notes


def sweep_behind(namespace: Namespace, job: str) -> None:
    """Remove files that instances of a job which nobody runs wrote, and that no commit speaks of."""
    try:
        from headrace.engine.dataset_job import sweep_unowned  # noqa: PLC0415
    except ImportError as error:
        raise UserError(needs(error)) from None
    sweep_unowned(namespace, job)


def needs(error: ImportError) -> str:
    """Return what a user is told who has not installed what jobs over files need."""
    return f"reading files of tenants needs {error.name}: install it with pip install 'headrace[tags]'"
