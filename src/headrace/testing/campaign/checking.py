"""What a run left behind, beside what must be and beside an undisturbed run: job by job, row by row."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from headrace.limits import MAX_BATCH_BYTES
from headrace.local.dead_letters import DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.table import Table
from headrace.testing.campaign.events import LABELS, READINGS, Timeline, blocks, sentinel
from headrace.testing.campaign.jobs import FILES, PARTITIONS, Job, Output, Row
from headrace.testing.campaign.tally import shortened
from headrace.testing.webhook_target import taken

#: What a row is that is no JSON object any more.
_DAMAGED: Final = "damaged"

_POSITIONS: Final = """
SELECT input, partition, max(next_offset) FROM position WHERE job = ? GROUP BY input, partition
"""
_OUTBOX: Final = "SELECT count(*) FROM outbox"


@dataclass(slots=True)
class Observed:
    """All that can be seen of a run that has ended.

    `published` has the bodies of each input hub; `rows` those of each output; `positions` how far each job
    has read the partitions of its inputs, and `ends` where they end; `counts` what jobs say of themselves.
    """

    published: dict[str, list[bytes]]
    rows: dict[str, list[Row]]
    positions: dict[str, dict[tuple[str, int], int]]
    ends: dict[tuple[str, int], int]
    counts: dict[str, dict[str, int]]
    dead_letters: list[str]
    outbox: int


def observe(folder: Path, jobs: Sequence[Job]) -> Observed:
    """Read what stands in a project's folder, plainly."""
    data = folder / ".headrace"
    published: dict[str, list[bytes]] = {}
    ends: dict[tuple[str, int], int] = {}
    for name in (READINGS, LABELS):
        bodies = list(_bodies(data / "hubs", name))
        published[name] = [body for partition in bodies for body in partition]
        ends |= {(name, number): len(partition) for number, partition in enumerate(bodies)}
    with Namespace.open(data, create=False) as namespace:
        progress = Progress(namespace)
        with namespace.reading() as connection:
            outbox: int = connection.execute(_OUTBOX).get
            positions = {job.name: _positions(connection, job) for job in jobs}
        return Observed(
            published=published,
            rows={
                output.name: [_row(text) for text in _texts(folder, namespace, output)]
                for job in jobs
                for output in job.outputs
            },
            positions=positions,
            ends=ends,
            counts={job.name: dict(progress.counts(job.name)) for job in jobs},
            dead_letters=[
                f"job {letter.job}, {letter.source} {letter.partition}/{letter.position}: {letter.reason}"
                for letter in DeadLetters(namespace).find()
            ],
            outbox=outbox,
        )


def _positions(connection: apsw.Connection, job: Job) -> dict[tuple[str, int], int]:
    rows = connection.execute(_POSITIONS, (job.name,))
    return {(hub, partition): offset for hub, partition, offset in rows if hub in job.inputs}


def _texts(folder: Path, namespace: Namespace, output: Output) -> Iterator[str]:
    """Yield the text of every row of an output, as it stands at its place."""
    match output.kind:
        case "table":
            yield from (entity.properties for entity in Table(namespace, output.name).read())
        case "hub":
            for partition in _bodies(namespace.hubs_folder, output.name):
                yield from (body.decode("utf-8", "replace") for body in partition)
        case "webhook":
            yield from map(json.dumps, taken(folder))
        case "file":
            for file in sorted((folder / FILES).rglob("*.jsonl")):
                yield from file.read_text("utf-8", "replace").splitlines()


def _bodies(folder: Path, name: str) -> Iterator[list[bytes]]:
    """Yield the bodies of each partition of a hub."""
    with Hub.open(folder, name) as hub:
        for partition, end in enumerate(hub.ends()):
            bodies: list[bytes] = []
            offset = hub.begins()[partition]
            while offset < end:
                found = hub.read(partition, offset, max_events=end - offset, max_bytes=MAX_BATCH_BYTES)
                bodies += found.bodies
                offset = found.next_offset
            yield bodies


def _row(text: str) -> Row:
    with contextlib.suppress(ValueError):
        row = json.loads(text)
        if isinstance(row, dict):
            return row
    return {_DAMAGED: text}


@dataclass(slots=True)
class JobVerdict:
    """What was found of one job: events accepted for it, rows that there are, and what is wrong with them."""

    job: str
    accepted: int
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0


@dataclass(slots=True)
class Verdict:
    """What the checkers found: without findings, all is as it must be."""

    jobs: list[JobVerdict] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def find(self, check: str, what: str, which: Sequence[str] = ()) -> None:
        """Note a violation; C1 lost, C2 doubled, C3 positions, C4 contents."""
        shown = f": {', '.join(shortened(which, 5))}" if which else ""
        self.findings.append(f"{check} {what}{shown}")


def check(
    observed: Observed, undisturbed: Observed, jobs: Sequence[Job], readings: int, timeline: Timeline
) -> Verdict:
    """Compare a run over so many readings with what must be, and with an undisturbed run over the same."""
    verdict = Verdict()
    for hub in (READINGS, LABELS):
        _check_published(verdict, hub, observed.published[hub], published(hub, readings, timeline))
    for job in jobs:
        accepted = sum(len(observed.published[hub]) for hub in job.inputs)
        found = JobVerdict(job.name, accepted)
        verdict.jobs.append(found)
        expected = list(job.expected(readings, timeline))
        for output in job.outputs:
            _check_rows(verdict, found, output, observed.rows[output.name], expected)
            _check_identical(verdict, found, output, observed, undisturbed)
        _check_records(verdict, job, observed, accepted, len(expected) * len(job.outputs))
    if observed.dead_letters:
        verdict.find("C1", f"{len(observed.dead_letters)} dead letters", observed.dead_letters)
    if observed.outbox:
        verdict.find("C1", f"{observed.outbox} blocks were never delivered")
    return verdict


def published(hub: str, readings: int, timeline: Timeline) -> Iterator[bytes]:
    """Yield the bodies that a hub must hold when so many readings were published, sentinels too."""
    for until, bodies in blocks(hub, timeline):
        if until > readings:
            break
        yield from bodies
    yield from [sentinel(hub, timeline)] * PARTITIONS


def _check_published(verdict: Verdict, hub: str, found: Iterable[bytes], expected: Iterable[bytes]) -> None:
    there, wanted = Counter(found), Counter(expected)
    for check_name, what, surplus in (
        ("C1", "lost from", wanted - there),
        ("C2", "too many in", there - wanted),
    ):
        if surplus:
            shown = [body[:40].decode("utf-8", "replace") for body in surplus]
            verdict.find(check_name, f"{surplus.total()} events are {what} hub '{hub}'", shown)


def _check_rows(
    verdict: Verdict, found: JobVerdict, output: Output, rows: Sequence[Row], expected: Sequence[Row]
) -> None:
    """Compare with the oracle: how often each row is there, and what it says."""
    found.rows += len(rows)
    wanted = {_key(output, row): row for row in expected}
    there = Counter(_key(output, row) for row in rows)
    lost = [key for key in wanted if key not in there]
    doubled = list((there - Counter(wanted.keys())).elements())
    differing = [
        key for row in rows if (key := _key(output, row)) in wanted and _text(row) != _text(wanted[key])
    ]
    found.lost += len(lost)
    found.doubled += len(doubled)
    found.differing += len(differing)
    where = f"{output.kind} '{output.name}'"
    if lost:
        verdict.find("C1", f"{len(lost)} rows are lost from {where}", lost)
    if doubled:
        verdict.find("C2", f"{len(doubled)} rows are too many in {where}", doubled)
    if differing:
        verdict.find("C4", f"{len(differing)} rows of {where} are not what the query makes", differing)


def _check_identical(
    verdict: Verdict, found: JobVerdict, output: Output, observed: Observed, undisturbed: Observed
) -> None:
    ours = Counter(map(_text, observed.rows[output.name]))
    theirs = Counter(map(_text, undisturbed.rows[output.name]))
    unlike = [*(ours - theirs).elements(), *(theirs - ours).elements()]
    if unlike:
        found.differing = max(found.differing, len(unlike))
        what = f"{len(unlike)} rows of {output.kind} '{output.name}' are not as in the undisturbed run"
        verdict.find("C4", what, unlike)


def _check_records(verdict: Verdict, job: Job, observed: Observed, accepted: int, rows: int) -> None:
    """What the job says of itself, and how far it came, must agree with what there is."""
    expected = {"events_in": accepted, "rows_out": rows, "dead": 0}
    counts = observed.counts[job.name]
    if {name: counts.get(name) for name in expected} != expected:
        verdict.find("C2", f"job '{job.name}' counts {counts}, must be {expected}")
    ends = {place: end for place, end in observed.ends.items() if place[0] in job.inputs}
    if observed.positions[job.name] != ends:
        verdict.find(
            "C3", f"job '{job.name}' stands at {observed.positions[job.name]}, the hubs end at {ends}"
        )


def _key(output: Output, row: Mapping[str, Any]) -> str:
    return "/".join(str(row.get(column)) for column in output.key)


def _text(row: Mapping[str, Any]) -> str:
    """Return a row's canonical text: 1, 1.0 and true differ in it."""
    return json.dumps(row, sort_keys=True, ensure_ascii=False)
