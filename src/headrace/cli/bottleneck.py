"""Show what limits a running job: how long each stage takes, and what one more instance would bring.

It looks at the job twice, --seconds apart. `alone` is the rate that a stage could sustain if it were all that
the job's instances do.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any, Final

from headrace.cli.numbers import duration
from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import count_text, print_json, print_lines, print_table, waiting
from headrace.cli.status import rate_text
from headrace.clock import SystemClock
from headrace.engine.bottleneck import Finding, StageRate
from headrace.errors import UserError
from headrace.project import Project
from headrace.project.bottleneck import observe
from headrace.project.status import looking

#: How many characters the bar of a stage has that takes all the time.
BAR_CHARS: Final = 20

#: Stages that take less of the time are left out.
_LEAST: Final = 0.0005

#: A gain below this is none to speak of.
_NOTHING: Final = 1.05

DEFAULT_S: Final = 5.0


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "bottleneck", help="show which stage limits a running job", description=plain(__doc__)
    )
    parser.add_argument("job", metavar="JOB", help="the job")
    parser.add_argument(
        "--seconds",
        type=duration,
        default=DEFAULT_S,
        metavar="N",
        help=f"how long to watch it (default: {DEFAULT_S:g}); longer is more exact",
    )
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Watch the job and show what was found."""
    project, job = Project.load(Path(arguments.project)), arguments.job
    with looking(project, [job]) as looks:
        [status] = looks.look()
        if status.health in {"stopped", "failed"}:
            raise UserError(f"job '{job}' is not running: `headrace run {job}`, and ask again meanwhile")
        with waiting(f"watching job {job}"):
            finding = observe(project, looks, max(0.5, arguments.seconds), SystemClock())
    if finding is None:
        raise UserError(f"no instance of job '{job}' has ended a batch in that time: ask with more --seconds")
    if arguments.json:
        print_json(as_plain(finding))
    else:
        show(finding)
    return 0


def show(finding: Finding) -> None:
    """Print the stages of a job, and what limits it."""
    print_table(
        ("stage", "share of the time", "computing", "alone"),
        [
            (rate.stage, bar(rate.share), f"{rate.computing:.0%}", f"{rate_text(rate.rate)}/s")
            for rate in finding.stages
            if rate.share >= _LEAST
        ],
    )
    print_lines(["", *sentences(finding)])


def sentences(finding: Finding) -> list[str]:
    """Return what was found in sentences: what limits the job, why, and what would help."""
    now = f"{rate_text(finding.rate)} events/s with {count_text(finding.instances, 'instance')}"
    more = f"one more would make it {rate_text(finding.next_rate)}"
    if finding.gain < _NOTHING:
        more = "one more would change little"
    return [
        f"limited by {finding.limit}: {finding.why}",
        f"{now}; {more}",
        f"what would help: {finding.help}",
    ]


def short(finding: Finding) -> str:
    """Return what limits a job in a few words, for one line among others."""
    gain = "one more instance: little"
    if finding.gain >= _NOTHING:
        gain = f"one more instance: {rate_text(finding.next_rate)} events/s"
    return f"limited by {finding.limit} ({gain})"


def as_plain(finding: Finding) -> dict[str, Any]:
    """Return what was found as plain values for JSON; a stage that took no time has no rate."""
    document = {**asdict(finding), "gain": finding.gain, "stages": [_stage(rate) for rate in finding.stages]}
    return {name: _rounded(value) for name, value in document.items()}


def bar(share: float) -> str:
    """Return a share of the time as a bar and in percent."""
    full = round(min(1.0, share) * BAR_CHARS)
    return f"{'█' * full}{'░' * (BAR_CHARS - full)} {share:4.0%}"


def _stage(rate: StageRate) -> dict[str, Any]:
    values = {**asdict(rate), "rate": rate.rate if isfinite(rate.rate) else None}
    return {name: _rounded(value) for name, value in values.items()}


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
