"""What an instance writes to the log: one line for each thing of note, none for a batch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from headrace.engine.open_job import OpenJob

#: Whose lines these are; whoever runs a job says where they go, and nobody sees them otherwise.
LOGGER: Final = logging.getLogger("headrace.job")


class Journal:
    """The lines of one instance of a job; what began is told once."""

    def __init__(self, job: str, instance: int) -> None:
        self._job, self._instance = job, instance
        self._tasks: set[str] = set()
        self._begun: set[tuple[str, object]] = set()

    def tell(self, event: str, message: str, **fields: object) -> None:
        """Write one line: `event` and `fields` are for programs, the message for people."""
        if LOGGER.isEnabledFor(logging.INFO):
            named = {"job": self._job, "instance": self._instance, **fields}
            text = f"{self._job}, instance {self._instance}: {message}"
            LOGGER.info("%s", text, extra={"event": event, "fields": named})

    def started(self, job: OpenJob, instances: int) -> None:
        """Tell what the instance is made of."""
        inputs, outputs = sorted(job.sources), sorted(job.sinks)
        self.tell(
            "started",
            f"started: reads {', '.join(inputs)}; writes {', '.join(outputs) or 'for its second stage'}",
            inputs=inputs,
            outputs=outputs,
            instances=instances,
            policy=asdict(job.policy),
        )

    def ended(self, reason: str, events_in: int, rows_out: int) -> None:
        """Tell that the instance ends, and of what, if not in order."""
        text = f"ended: {reason}" if reason else "ended"
        self.tell("ended", text, reason=reason, events_in=events_in, rows_out=rows_out)

    def owns(self, tasks: Mapping[str, bool]) -> None:
        """Tell of tasks that were taken and given since the last call; true are those with their state."""
        now = set(tasks)
        for event, verb, changed in (
            ("tasks_taken", "took", now - self._tasks),
            ("tasks_given", "gave", self._tasks - now),
        ):
            if changed:
                names = [f"{task} with its state" if tasks.get(task) else task for task in sorted(changed)]
                restored = [task for task in sorted(changed) if tasks.get(task)]
                self.tell(event, f"{verb} {', '.join(names)}", tasks=sorted(changed), restored=restored)
        self._tasks = now

    def began(self, event: str, message: str, **fields: object) -> None:
        """Tell of what begins to happen, to an input or at all, and will go on: the first time."""
        key = (event, fields.get("input"))
        if key not in self._begun:
            self._begun.add(key)
            self.tell(event, message, **fields)
