"""The report of a campaign: every zero with its denominator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headrace.testing.campaign.checking import JobVerdict, Verdict
from headrace.testing.campaign.tally import HITS, POINTS, Tally, shortened


@dataclass(frozen=True, slots=True)
class Cell:
    """The part of a campaign in which each job ran as so many instances."""

    instances: int
    readings: int
    tally: Tally
    verdict: Verdict
    recoveries_s: dict[str, list[float]]
    requests: Counter[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """A finished campaign; `points` says how many processes died at which passage of each."""

    seed: int
    cells: Sequence[Cell]
    points: Counter[tuple[str, int]]
    findings: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def document(self) -> dict[str, Any]:
        """Return the report as ``--json`` prints it."""
        return {
            "passed": self.passed,
            "seed": self.seed,
            "kills": sum(cell.tally.killed for cell in self.cells),
            "points": {f"{point}:{hit}": self.points[point, hit] for point in POINTS for hit in HITS},
            "findings": list(self.findings),
            "cells": [_cell_document(cell) for cell in self.cells],
        }

    def lines(self) -> list[str]:
        """Return the report for a person."""
        kills = sum(cell.tally.killed for cell in self.cells)
        lines = [f"{kills:,} kills, seed {self.seed}"]
        for cell in self.cells:
            lines += _cell_lines(cell)
        lines += ["deaths at the first, second and third passage of each point"]
        lines += [f"  {' '.join(f'{self.points[p, hit]:4}' for hit in HITS)}  {p}" for p in POINTS]
        lines += shortened(self.findings)
        return [*lines, "passed" if self.passed else "FAILED"]


def _cell_lines(cell: Cell) -> list[str]:
    tally = cell.tally
    kills = ", ".join(f"{count:,} {what}" for what, count in sorted(tally.kills.items()))
    strikes = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.strikes.items()))
    requests = ", ".join(f"{count:,} {mood}" for mood, count in sorted(cell.requests.items()))
    lines = [
        f"{cell.instances} {'instance' if cell.instances == 1 else 'instances'} of "
        f"{', '.join(job.job for job in cell.verdict.jobs)}: "
        f"{cell.readings:,} readings, {cell.seconds:.0f} s",
        f"  killed: {kills}; strikes: {strikes}",
        f"  zombies: {tally.refused} refused of {tally.woken} woken; starts tried again: {tally.tried_again}",
        f"  requests of the webhook: {requests or 'none'}",
        f"  {'job':13}{'accepted':>10}{'rows':>9}{'lost':>7}{'doubled':>9}{'differing':>11}",
    ]
    lines += [_job_line(job) for job in cell.verdict.jobs]
    lines += ["  seconds from a strike to new commits in every partition: p50, p99, longest"]
    for kind, seconds in sorted([*cell.recoveries_s.items(), ("all", _all(cell))]):
        p50, p99, longest = (quantile(seconds, share) for share in (0.5, 0.99, 1.0))
        lines.append(f"  {kind:13}{p50:8.2f}{p99:8.2f}{longest:8.2f}  of {len(seconds):,}")
    return lines


def _job_line(job: JobVerdict) -> str:
    counts = f"{job.lost:7,}{job.doubled:9,}{job.differing:11,}"
    return f"  {job.job:13}{job.accepted:10,}{job.rows:9,}{counts}"


def _cell_document(cell: Cell) -> dict[str, Any]:
    seconds = _all(cell)
    return {
        "instances": cell.instances,
        "readings": cell.readings,
        "kills": dict(cell.tally.kills),
        "strikes": dict(cell.tally.strikes),
        "zombies": {"woken": cell.tally.woken, "refused": cell.tally.refused},
        "requests": dict(cell.requests),
        "jobs": [
            {
                "job": job.job,
                "accepted": job.accepted,
                "rows": job.rows,
                "lost": job.lost,
                "doubled": job.doubled,
                "differing": job.differing,
            }
            for job in cell.verdict.jobs
        ],
        "recovery_s": {
            "p50": round(quantile(seconds, 0.5), 3),
            "p99": round(quantile(seconds, 0.99), 3),
            "max": round(quantile(seconds, 1.0), 3),
            "of": len(seconds),
        },
        "seconds": round(cell.seconds, 1),
    }


def _all(cell: Cell) -> list[float]:
    return [second for seconds in cell.recoveries_s.values() for second in seconds]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all are not above, 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]
