"""Reading the histories of a project's tags from Python."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from headrace.errors import UserError, did_you_mean
from headrace.local.namespace import Namespace
from headrace.names import PROJECT_FILE
from headrace.project.project import Project
from headrace.series.output_settings import SeriesSettings

if TYPE_CHECKING:
    from headrace.series.downsample import How
    from headrace.series.read import SeriesReader
    from headrace.series.store import Store


def open_series(
    store: str | None = None, *, project: str | Path = PROJECT_FILE, looking: bool = True
) -> SeriesReader:
    """Open a series output of a project for reading, its only one if none is named; close it after use.

    Raises `UserError` for one that is not there, and where the extra `tags` is not installed.
    """
    try:
        from headrace.series.read import SeriesReader  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("series need pyarrow: pip install 'headrace[tags]'") from None
    opened, namespace = open_store(store, project=project, looking=looking)
    return SeriesReader(opened, namespace.close)


def open_store(
    name: str | None = None, *, project: str | Path = PROJECT_FILE, looking: bool = True
) -> tuple[Store, Namespace]:
    """Open a series output of a project and the namespace that it is in; raises as `open_series` does."""
    try:
        from headrace.series.store import Store  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("series need pyarrow: pip install 'headrace[tags]'") from None
    loaded = Project.load(project)
    known = {key: own for key, own in loaded.outputs.items() if isinstance(own, SeriesSettings)}
    if name is None and len(known) == 1:
        name = next(iter(known))
    if name is None:
        if known:
            some = ", ".join(known)
            raise UserError(
                f"{loaded.file} has several series: say --store NAME, or store= in Python: {some}"
            )
        raise UserError(f'{loaded.file} has no series. [outputs.NAME] with kind = "series" makes one')
    if name not in known:
        hint = did_you_mean(name, known) or f"There is {', '.join(known) or 'none'}"
        raise UserError(f"no output {name[:60]!r} is a series. {hint}")
    folder = loaded.folder / (known[name].folder or name)
    namespace = Namespace.open(loaded.data, create=False, looking=looking)
    return Store(namespace, name, folder), namespace


def read_series(  # noqa: PLR0913 - what a reader asks for, by name
    tags: str | Iterable[str],
    start: datetime | str | int | None = None,
    end: datetime | str | int | None = None,
    *,
    tenant: str | None = None,
    store: str | None = None,
    project: str | Path = PROJECT_FILE,
    how: How = "raw",
    every: timedelta | float | None = None,
    points: int | None = None,
) -> pl.DataFrame:
    """Return points of tags at or after `start` and before `end`: columns tag, time (UTC) and value.

    `tags` is a GUID, how GUIDs begin, a pattern such as ``302f*``, or several of these. `how` is ``raw``,
    ``last``, or with `every` (a length of time) or `points` (a number) one of ``min``, ``max``, ``mean``,
    ``minmax`` and ``lttb``. Of points of one tag and time the one that was stored last counts. The tenant
    may be left out where there is one. Whoever reads often keeps what `open_series` returns. Raises
    `UserError` for a tag, tenant or series that is not there.
    """
    with open_series(store, project=project) as reader:
        return reader.read(tags, start, end, tenant=tenant, how=how, every=every, points=points)
