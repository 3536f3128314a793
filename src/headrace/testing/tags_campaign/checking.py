"""What a run left behind, against what its files say; nothing of the engine is asked but its readers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from headrace.local.dead_letters import DeadLetters
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.project.series import open_series
from headrace.series.compaction import compact
from headrace.series.retention import drop_before
from headrace.series.store import Store
from headrace.testing.tags_campaign.files import TOO_OLD, Files, Point
from headrace.testing.tags_campaign.run import INPUT, OUTPUT


@dataclass(slots=True)
class Verdict:
    """Points that were to be stored, those found, and all that is not as it should be."""

    wanted: int = 0
    found: int = 0
    segments: int = 0
    findings: list[str] = field(default_factory=list)


def check(folder: Path, files: Files) -> Verdict:
    """Check a run whose layout are segments: as it stands, swept, and once more when all is compacted."""
    verdict = Verdict()
    with Namespace.open(folder / ".headrace", create=False) as namespace:
        store = Store(namespace, OUTPUT, folder / OUTPUT)
        _sweep(store, verdict)
        _check_work(namespace, files, verdict)
        _check_points(folder, files, verdict)
        _check_folders(store, files, verdict)
        for tenant in store.catalogue.tenants():
            compact(store, tenant, everything=True)
        compacted = Verdict()
        _check_points(folder, files, compacted)
        _check_folders(store, files, compacted)
        verdict.findings += [f"compacted: {finding}" for finding in compacted.findings]
        store.close()
    return verdict


def _sweep(store: Store, verdict: Verdict) -> None:
    """Do what the next compaction and the next look for old points would."""
    for tenant in store.catalogue.tenants():
        store.sweep(tenant, f"compaction {store.name} {tenant}")
        store.remove_gone(tenant)
        if tenant == TOO_OLD:
            drop_before(store, tenant, 2**62)


def _check_work(namespace: Namespace, files: Files, verdict: Verdict) -> None:
    depth = Queue(namespace, INPUT).depth()
    if (depth.sent, depth.finished) != (files.count, files.count):
        verdict.findings.append(f"of {files.count} files {depth.sent} were enqueued, {depth.finished} done")
    letters = DeadLetters(namespace).count()
    if letters != files.bad:
        verdict.findings.append(f"{files.bad} lines are bad, and there are {letters} dead letters")


def _check_points(folder: Path, files: Files, verdict: Verdict) -> None:
    with open_series(OUTPUT, project=folder) as reader:
        for tenant, wanted in files.points.items():
            found: Counter[Point] = Counter()
            if tenant != TOO_OLD:
                rows = reader.read("*", tenant=tenant)
                times = rows["time"].to_physical().to_list()
                found.update(zip(rows["tag"].to_list(), times, rows["value"].to_list(), strict=True))
                verdict.wanted += wanted.total()
                lost, doubled = (wanted - found).total(), (found - wanted).total()
                if lost or doubled:
                    verdict.findings.append(f"{tenant}: {lost} points lost, {doubled} too many")
            verdict.found += found.total()


def _check_folders(store: Store, files: Files, verdict: Verdict) -> None:
    for tenant in store.catalogue.tenants():
        segments = store.catalogue.segments(store.catalogue.known_tenant(tenant))
        verdict.segments += len(segments)
        points = sum(segment.points for segment in segments)
        wanted = 0 if tenant == TOO_OLD else files.points[tenant].total()
        if points != wanted:
            verdict.findings.append(f"{tenant}: segments hold {points} points, not {wanted}")
        named = {segment.name for segment in segments}
        there = {path.name for path in store.folder(tenant).iterdir()}
        if missing := named - there:
            verdict.findings.append(f"{tenant}: segments without a file: {sorted(missing)[:3]}")
        if orphans := there - named:
            verdict.findings.append(f"{tenant}: files without a segment: {sorted(orphans)[:3]}")


def doubled_lines(folder: Path, files: Files) -> tuple[int, int, int]:
    """Return the lines that the paper's layout should hold, those it has too often, and those it lost."""
    found: Counter[tuple[str, str]] = Counter()
    for path in (folder / OUTPUT).rglob("*.csv"):
        found.update((path.name[:36], line) for line in path.read_text("ascii").splitlines())
    wanted = sum(points.total() for points in files.points.values())
    doubled = sum(count - 1 for count in found.values())
    return wanted, doubled, wanted - len(found)
