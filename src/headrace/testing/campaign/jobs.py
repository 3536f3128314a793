"""The jobs of the campaign, and in plain Python what each must give; nothing of the engine is used here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headrace.project.settings import OUTPUT_KINDS
from headrace.testing.campaign.events import LABELS, READINGS, Reading, Timeline

Row = dict[str, Any]

TUMBLING_MS: Final = 30_000
GRADED_MS: Final = 45_000
SESSION_TIMEOUT_MS: Final = 15_000
LONGEST_JOIN_S: Final = 2

PARTITIONS: Final = 4
FILES: Final = "filed"


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a job: its settings, and the columns that name a row among those that there must be."""

    name: str
    kind: str
    key: Sequence[str]
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A query, its inputs and outputs; `expected` gives the rows, the same ones for every output."""

    name: str
    sql: str
    outputs: Sequence[Output]
    expected: Callable[[int, Timeline], Iterator[Row]]
    inputs: Sequence[str] = (READINGS,)


# --- what must come out -----------------------------------------------------------------------------------


def _readings(count: int) -> Iterable[Reading]:
    return (Reading(n) for n in range(count))


def _window_end_ms(at_ms: int, size_ms: int) -> int:
    """Return the end of the window: it holds its end and not its start."""
    return -(-at_ms // size_ms) * size_ms


def _grouped(count: int, size_ms: int) -> dict[tuple[str, int], list[Reading]]:
    groups: dict[tuple[str, int], list[Reading]] = {}
    for reading in _readings(count):
        end_ms = _window_end_ms(reading.at_ms, size_ms)
        groups.setdefault((reading.sensor, end_ms), []).append(reading)
    return groups


def _tumbling(count: int, timeline: Timeline) -> Iterator[Row]:
    for (sensor, end_ms), held in _grouped(count, TUMBLING_MS).items():
        yield {
            "sensor": sensor,
            "at": timeline.text(end_ms),
            "events": len(held),
            "numbers": sum(reading.n for reading in held),
            "total": sum(reading.content.big for reading in held),
        }


def _sessions(count: int, timeline: Timeline) -> Iterator[Row]:
    sessions: dict[str, list[list[Reading]]] = {}
    for reading in _readings(count):
        own = sessions.setdefault(reading.sensor, [])
        if own and reading.at_ms - own[-1][-1].at_ms <= SESSION_TIMEOUT_MS:
            own[-1].append(reading)
        else:
            own.append([reading])
    for sensor, own in sessions.items():
        for held in own:
            yield {
                "sensor": sensor,
                "at": timeline.text(held[-1].at_ms + SESSION_TIMEOUT_MS),
                "events": len(held),
                "first": held[0].n,
                "total": sum(reading.content.big for reading in held),
            }


def _joined(count: int, _: Timeline) -> Iterator[Row]:
    for reading in _readings(count):
        if reading.labelled:
            near = reading.label_delay_s <= LONGEST_JOIN_S
            label = f"label of {reading.content.doc}" if near else None
            yield {"id": reading.id, "sensor": reading.sensor, "n": reading.n, "label": label}


def _words(reading: Reading) -> int:
    return len(reading.content.doc.split(" "))


def _graded(count: int, _: Timeline) -> Iterator[Row]:
    for reading in _readings(count):
        checksum = reading.content.checksum
        row = {"id": reading.id, "n": reading.n, "checksum": checksum, "found": checksum}
        yield row | {"words": _words(reading)}


def _graded_windows(count: int, timeline: Timeline) -> Iterator[Row]:
    for (sensor, end_ms), held in _grouped(count, GRADED_MS).items():
        yield {
            "sensor": sensor,
            "at": timeline.text(end_ms),
            "events": len(held),
            "words": sum(map(_words, held)),
            "checksums": sum(reading.content.checksum for reading in held),
        }


def _passed(count: int, _: Timeline) -> Iterator[Row]:
    for reading in _readings(count):
        yield {"id": reading.id, "n": reading.n, "checksum": reading.content.checksum}


# --- the jobs ---------------------------------------------------------------------------------------------

_WINDOW: Final = ("sensor", "at")

#: Tables have no `row_key`: a row that is written twice must stand there twice, not replace itself.
_ALL: Final = (
    Job(
        "tumbling",
        """
        WITH counted AS (
            SELECT sensor, System.Timestamp() AS at, COUNT(*) AS events, SUM(n) AS numbers, SUM(big) AS total
            FROM readings TIMESTAMP BY t
            GROUP BY sensor, TumblingWindow(second, 30)
        )
        SELECT * INTO counts FROM counted;
        SELECT * INTO closed FROM counted
        """,
        [Output("counts", "table", _WINDOW), Output("closed", "hub", _WINDOW, "partitions = 2")],
        _tumbling,
    ),
    Job(
        "session",
        """
        SELECT sensor, System.Timestamp() AS at, COUNT(*) AS events, MIN(n) AS first, SUM(big) AS total
        INTO sessions
        FROM readings TIMESTAMP BY t
        GROUP BY sensor, SessionWindow(second, 15, 21600) OVER (PARTITION BY sensor)
        """,
        [Output("sessions", "table", _WINDOW)],
        _sessions,
    ),
    Job(
        "join",
        """
        SELECT r.id, r.sensor, r.n, l.label INTO joined
        FROM readings r TIMESTAMP BY t
        LEFT JOIN labels l TIMESTAMP BY t
        ON r.sensor = l.sensor AND r.id = l.id AND DATEDIFF(second, r, l) BETWEEN 0 AND 2
        WHERE r.n % 8 = 0
        """,
        [Output("joined", "table", ("id",))],
        _joined,
        (READINGS, LABELS),
    ),
    Job(
        "model",
        """
        SELECT id, n, checksum, grade(doc).checksum AS found, grade(doc).words AS words
        INTO graded FROM readings WHERE n >= 0
        """,
        [Output("graded", "table", ("id",))],
        _graded,
    ),
    Job(
        "model_window",
        """
        WITH graded AS (SELECT sensor, grade(doc) AS grade FROM readings TIMESTAMP BY t WHERE n >= 0)
        SELECT sensor, System.Timestamp() AS at, COUNT(*) AS events,
            SUM(grade.words) AS words, SUM(grade.checksum) AS checksums
        INTO graded_windows
        FROM graded GROUP BY sensor, TumblingWindow(second, 45)
        """,
        [Output("graded_windows", "table", _WINDOW)],
        _graded_windows,
    ),
    Job(
        "webhook",
        "SELECT id, n, checksum INTO hook FROM readings WHERE n >= 0",
        [Output("hook", "webhook", ("id",), 'url = "{url}"\nmax_rows = 500')],
        _passed,
    ),
    Job(
        "file",
        "SELECT id, n, checksum INTO filed FROM readings WHERE n >= 0",
        [Output(FILES, "file", ("id",), f'path = "{FILES}/rows.jsonl"')],
        _passed,
    ),
)

#: The jobs whose outputs this version can write.
JOBS: Final[Mapping[str, Job]] = {
    job.name: job for job in _ALL if all(output.kind in OUTPUT_KINDS for output in job.outputs)
}

GRADING: Final = '''\
"""The function that queries of the campaign call: pure, so that one can tell what it must return."""

import zlib


def grade(doc):
    """Return the checksum of a document's bytes and how many words it has."""
    return {"checksum": zlib.crc32(doc.encode()), "words": len(doc.split(" "))}
'''


def settings_of(jobs: Sequence[Job], instances: int, url: str) -> str:
    """Return the ``headrace.toml`` of a project with these jobs; `url` is where the webhook posts."""
    lines = ["[functions.grade]", 'python = "grading.py:grade"']
    for hub in (READINGS, LABELS):
        lines += [f"[inputs.{hub}]", 'kind = "hub"', f"partitions = {PARTITIONS}"]
    for job in jobs:
        for output in job.outputs:
            lines += [f"[outputs.{output.name}]", f'kind = "{output.kind}"', output.settings.format(url=url)]
        # No event is ever late: what is cannot depend on when somebody was killed.
        lines += [f"[jobs.{job.name}]", f"sql = {json.dumps(job.sql)}", "late_seconds = 1728000"]
        lines += [f"instances = {instances}"]
    return "\n".join(lines) + "\n"
