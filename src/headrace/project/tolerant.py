"""Loading a project whose settings have problems: all are found, and what is whole can be checked on."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from headrace.connect.hub import HubSettings
from headrace.errors import UserError, did_you_mean
from headrace.names import PROJECT_FILE
from headrace.project.project import Project
from headrace.project.settings import (
    INPUT_KINDS,
    OUTPUT_KINDS,
    FunctionSettings,
    JobSettings,
    ProjectSettings,
    PublishSettings,
    TenantSettings,
    joint_problems,
    read_inputs,
)
from headrace.project.values import convert, expanded, section

_Settings = TypeVar("_Settings")

_SECTIONS: Final = ("project", "inputs", "outputs", "functions", "jobs", "tenants", "publish")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A project and the problems of its settings; `broken` are the paths of the tables that have some.

    A broken input, output or function stands in the project as an empty one, so that queries can be checked
    against its name; a broken job is left out.
    """

    project: Project
    problems: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)


def load_tolerantly(path: Path) -> Loaded:
    """Load a project; raises `UserError` only for a file that cannot be read or is no TOML."""
    try:
        return Loaded(Project.load(path))
    except UserError as error:
        first = error
    file = path / PROJECT_FILE if path.is_dir() else path
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        raise first from None
    return _Collector(file.resolve(), document).loaded(str(first))


class _Collector:
    def __init__(self, file: Path, document: dict[str, Any]) -> None:
        self._file, self._document = file, document
        self._problems: list[str] = []
        self._broken: set[str] = set()

    def loaded(self, first: str) -> Loaded:
        for name in self._document:
            if name not in _SECTIONS:
                hint = did_you_mean(name, _SECTIONS)
                self._problems.append(
                    f"{name}: no such section; there are {', '.join(_SECTIONS)}. {hint}".rstrip()
                )
        own = self._whole("project", ProjectSettings)
        inputs = self._tables("inputs", INPUT_KINDS, HubSettings())
        outputs = self._tables("outputs", OUTPUT_KINDS, HubSettings())
        project = Project(
            file=self._file,
            data=(self._file.parent / own.data).resolve(),
            inputs=read_inputs(inputs),
            outputs=outputs,
            functions=self._tables("functions", FunctionSettings, FunctionSettings()),
            jobs=self._tables("jobs", JobSettings, None),
            tenants=self._tables("tenants", TenantSettings, TenantSettings()),
            publish=self._whole("publish", PublishSettings),
        )
        self._problems += joint_problems(project.inputs, project.outputs, project.jobs)
        return Loaded(project, self._problems or [first], self._broken)

    def _whole(self, name: str, settings: type[_Settings]) -> _Settings:
        try:
            return convert(self._expanded(self._document.get(name, {}), name), settings, name)
        except UserError as error:
            self._problems.append(str(error))
            return settings()

    def _tables(
        self,
        name: str,
        settings: type[_Settings] | Mapping[str, type[_Settings]],
        stand_in: _Settings | None,
    ) -> dict[str, _Settings]:
        found: dict[str, _Settings] = {}
        tables = self._document.get(name, {})
        if not isinstance(tables, dict):
            self._problems.append(f"{name}: expected tables such as [{name}.something], found {tables!r}")
            return found
        for key, table in tables.items():
            try:
                found |= self._table(name, key, table, settings)
            except UserError as error:
                self._broken.add(f"{name}.{key}")
                self._problems += self._of_each_key(name, key, table, settings) or [str(error)]
                if stand_in is not None:
                    found[key] = stand_in
        return found

    def _table(
        self, name: str, key: str, table: Any, settings: type[_Settings] | Mapping[str, type[_Settings]]
    ) -> dict[str, _Settings]:
        return section({name: {key: self._expanded(table, f"{name}.{key}")}}, name, settings)

    def _of_each_key(
        self, name: str, key: str, table: Any, settings: type[_Settings] | Mapping[str, type[_Settings]]
    ) -> list[str]:
        """Return the problem of each key of a table, where it is a key that has it and not the table."""
        problems = []
        for item, value in table.items() if isinstance(table, dict) else ():
            alone = {"kind": table["kind"]} if "kind" in table else {}
            try:
                self._table(name, key, alone | {item: value}, settings)
            except UserError as error:
                if str(error).startswith(f"{name}.{key}.{item}") and str(error) not in problems:
                    problems.append(str(error))
        return problems

    def _expanded(self, value: Any, path: str) -> Any:
        return expanded(value, self._file.parent, path)
