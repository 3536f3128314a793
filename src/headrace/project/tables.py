"""Reading a project's tables from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import UserError, did_you_mean
from headrace.local.namespace import Namespace
from headrace.local.table import Table, list_tables
from headrace.names import PROJECT_FILE
from headrace.project.project import Project


def read_table(
    name: str,
    *,
    project: str | Path = PROJECT_FILE,
    partition_key: str | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of a table in key order: its properties, beside PartitionKey and RowKey.

    Raises UserError for a table that is not there.
    """
    with Namespace.open(Project.load(project).data, create=False, looking=True) as namespace:
        known = list_tables(namespace)
        if name not in known:
            raise UserError(f"there is no table {name!r}. {did_you_mean(name, known)}".rstrip())
        return [
            {
                "PartitionKey": entity.partition_key,
                "RowKey": entity.row_key,
                **msgspec.json.decode(entity.properties),
            }
            for entity in Table(namespace, name).read(partition_key=partition_key, limit=limit)
        ]
