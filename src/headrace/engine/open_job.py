"""A job as an instance gets it: bound, and everything that it uses open in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.connect.sink import Sink
from headrace.connect.source import Source
from headrace.engine.arrivals import POLICY
from headrace.engine.bad_input import SET_ASIDE, BadInput
from headrace.engine.passing import Stage
from headrace.engine.program import Program
from headrace.engine.references import References
from headrace.events.watermark import Policy


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job whose query is bound and whose inputs, outputs and functions are open in this process.

    With `per_partition` a query with state runs as a task for each partition. One with a `stage` has no
    outputs: it passes its input on to another job. Unless it `ends` its inputs are parts of what goes on.
    `bad` says what becomes of events that cannot be read.
    """

    name: str
    program: Program
    sources: Mapping[str, Source]
    sinks: Mapping[str, Sink]
    policy: Policy = POLICY
    per_partition: bool = False
    stage: Stage | None = None
    ends: bool = True
    bad: BadInput = SET_ASIDE
    references: References = field(default_factory=References)

    @property
    def whole(self) -> str:
        """The name of the job that this one is, or is a stage of."""
        return self.name if self.stage is None else self.stage.of


def instance_name(number: int) -> str:
    """Return the name under which an instance owns its line of the outbox, and is listed."""
    return f"instance-{number}"
