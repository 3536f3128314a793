"""A project: ``headrace.toml`` made into typed settings, and the table of connectors.

::

    [project]                      # optional
    data = ".headrace"             # the folder of hubs, queues, tables and commits

    [inputs.papers]
    kind = "hub"

    [outputs.scimlevents]
    kind = "table"
    row_key = "id"

    [functions.classify]
    model = "papers"

    [jobs.classify]
    query = "classify.sql"         # or sql = "SELECT ..."
    instances = 2

An error carries the path of the key, what was expected there and the nearest name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.connect.queue import QueueSettings
from headrace.connect.topic import Subscription, subscriptions_of
from headrace.engine.joins.reference import Reference
from headrace.engine.runnable import check_runnable
from headrace.errors import UserError, did_you_mean
from headrace.local.fair_queue import TenantShare
from headrace.names import PROJECT_FILE
from headrace.project.dataset_checks import check_dataset_job, check_dataset_settings, reads_dataset
from headrace.project.functions import defines_aggregate
from headrace.project.references import ReferenceSettings, load_reference
from headrace.project.running import run_of
from headrace.project.settings import (
    INPUT_KINDS,
    OUTPUT_KINDS,
    FunctionSettings,
    InputSettings,
    JobSettings,
    OutputSettings,
    ProjectSettings,
    PublishSettings,
    StreamSettings,
    TenantSettings,
    joint_problems,
    read_inputs,
)
from headrace.project.values import convert, expanded, section
from headrace.series.settings import DatasetSettings
from headrace.sql.bind import bind
from headrace.sql.plan import Script


@dataclass(frozen=True, slots=True)
class Project:
    """A project's settings, each checked; nothing is opened yet."""

    file: Path
    data: Path
    inputs: Mapping[str, InputSettings]
    outputs: Mapping[str, OutputSettings]
    functions: Mapping[str, FunctionSettings]
    jobs: Mapping[str, JobSettings]
    publish: PublishSettings = field(default_factory=PublishSettings)
    subscriptions: Mapping[str, Sequence[Subscription]] = field(default_factory=dict)  # by topic
    tenants: Mapping[str, TenantSettings] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path = PROJECT_FILE) -> Project:
        """Read a ``headrace.toml``, or the one in a folder. Raises `UserError` with the key's path."""
        file = Path(path)
        file = file / PROJECT_FILE if file.is_dir() else file
        try:
            text = file.read_text("utf-8")
        except FileNotFoundError:
            raise UserError(
                f"there is no {file}. `headrace new FOLDER` makes a project; `--project PATH` names another"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{file} is not TOML: {error}") from None
        return cls._from_document(file.resolve(), document)

    @classmethod
    def _from_document(cls, file: Path, document: dict[str, Any]) -> Project:
        document = expanded(document, file.parent, "")
        sections = ("project", "inputs", "outputs", "functions", "jobs", "tenants", "publish")
        for name in document:
            if name not in sections:
                raise UserError(
                    f"{name}: no such section; there are {', '.join(sections)}. "
                    f"{did_you_mean(name, sections)}".rstrip()
                )
        own = convert(document.get("project", {}), ProjectSettings, "project")
        inputs = section(document, "inputs", INPUT_KINDS)
        outputs = section(document, "outputs", OUTPUT_KINDS)
        jobs = section(document, "jobs", JobSettings)
        for problem in joint_problems(read_inputs(inputs), outputs, jobs):
            raise UserError(problem)
        return cls(
            file=file,
            data=(file.parent / own.data).resolve(),
            inputs=read_inputs(inputs),
            outputs=outputs,
            subscriptions=subscriptions_of(inputs.values(), outputs),
            functions=section(document, "functions", FunctionSettings),
            jobs=jobs,
            tenants=section(document, "tenants", TenantSettings),
            publish=convert(document.get("publish", {}), PublishSettings, "publish"),
        )

    @property
    def folder(self) -> Path:
        """The folder that the paths in the settings start from."""
        return self.file.parent

    @property
    def streams(self) -> dict[str, StreamSettings]:
        """The inputs that events come from."""
        return {
            k: s for k, s in self.inputs.items() if not isinstance(s, ReferenceSettings | DatasetSettings)
        }

    @property
    def datasets(self) -> dict[str, DatasetSettings]:
        """The inputs that are files of tenants, which a work queue names."""
        return {k: s for k, s in self.inputs.items() if isinstance(s, DatasetSettings)}

    @property
    def shares(self) -> dict[str, TenantShare]:
        """What tenants get of each queue that a job reads."""
        return {name: tenant.share for name, tenant in self.tenants.items()}

    @property
    def references(self) -> dict[str, ReferenceSettings]:
        """The inputs that events are looked up in."""
        return {k: s for k, s in self.inputs.items() if isinstance(s, ReferenceSettings)}

    @property
    def aggregates(self) -> list[str]:
        """The functions that are classes which aggregate."""
        return [name for name, own in self.functions.items() if defines_aggregate(self.folder, own)]

    def reference(self, name: str) -> Reference:
        """Load reference data. Raises `UserError` or `DataError` for a file that cannot be read."""
        return load_reference(name, self.references[name], self.folder)

    def job(self, name: str) -> JobSettings:
        """Return a job's settings. Raises `UserError` with the nearest name."""
        if name not in self.jobs:
            known = ", ".join(self.jobs) or "none"
            hint = did_you_mean(name, self.jobs)
            raise UserError(f"no job is called {name!r}; there are: {known}. {hint}".rstrip())
        return self.jobs[name]

    def script(self, job: str) -> Script:
        """Read and bind a job's query. Raises `QueryError` at its place, `UserError` for settings."""
        text = self.query_text(job)
        aggregates = self.aggregates
        return bind(
            text,
            functions=[name for name in self.functions if name not in aggregates],
            aggregates=aggregates,
            inputs=[*self.streams, *self.datasets],
            references=list(self.references),
            outputs=self.outputs,
        )

    def runnable_script(self, job: str) -> Script:
        """Do what `script` does, and raise `QueryError` for what a running job cannot do yet."""
        script = self.script(job)
        queues = [name for name, settings in self.inputs.items() if isinstance(settings, QueueSettings)]
        check_runnable(script, queues)
        check_dataset_job(self, script)
        if reads_dataset(self, script):
            check_dataset_settings(self, job)
        return script

    def query_place(self, job: str) -> str:
        """Return where a job's query stands: the key of the setting, and the file if it is in one."""
        query = self.job(job).query
        return f"jobs.{job}.query, {query}" if query else f"jobs.{job}.sql"

    def query_text(self, job: str) -> str:
        """Return the text of a job's query. Raises `UserError` for one that cannot be read."""
        settings = self.job(job)
        if (settings.query is None) == (settings.sql is None):
            raise UserError(f'jobs.{job}: give either query = "file.sql" or sql = "SELECT ..."')
        if settings.sql is not None:
            return settings.sql
        assert settings.query is not None
        file = self.folder / settings.query
        try:
            return file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"jobs.{job}.query: cannot read {file}: {reason}") from None

    def run(self, until: str | None = None) -> int:
        """Run all jobs, each instance in a process of its own; returns the worst exit code.

        With ``until="end"`` a job ends when its inputs have been read to the end; otherwise it runs until
        `headrace stop`, or until this process is interrupted.
        """
        if until not in (None, "end"):
            raise UserError(f'until: expected None or "end", found {until!r}')
        with run_of(self, list(self.jobs), until_end=until == "end") as run:
            run.start()
            return run.wait()
