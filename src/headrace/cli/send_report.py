"""What ``headrace send`` has sent so far: shown while it grows, told at the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from headrace.cli.show import count_text, note, print_json
from headrace.clock import Clock, SystemClock
from headrace.errors import HeadraceError
from headrace.project.places import Place
from headrace.project.sending import Sending
from headrace.redaction import redacted


@dataclass(slots=True)
class Report:
    """Counts of one call; on a terminal they are shown while `shown` is entered."""

    place: Place
    sendings: list[Sending] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    papers: int = 0
    clock: Clock = field(default_factory=SystemClock)
    _began_ns: int = field(init=False)
    _progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self._began_ns = self.clock.monotonic_ns()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )

    @property
    def stored(self) -> int:
        """Events stored by this call."""
        return self.papers + sum(sending.stored for sending in self.sendings)

    @property
    def skipped(self) -> int:
        """Events that were there already."""
        return sum(sending.skipped for sending in self.sendings)

    def shown(self) -> Progress:
        """Return the display, to be entered while events are sent."""
        self._progress.add_task("")
        return self._progress

    @contextlib.contextmanager
    def told_if_it_ends_early(self) -> Iterator[None]:
        """Say what was sent where an error or Ctrl-C ends the sending."""
        try:
            yield
        except (HeadraceError, KeyboardInterrupt):
            if self.stored:
                note(f"{count_text(self.stored, 'event')} were sent to {self.place} before this:")
            raise

    def update(self) -> None:
        """Show how far it is."""
        text = f"{count_text(self.stored, 'event')} to {self.place}, {self._rate():,.0f} events/s"
        self._progress.update(self._progress.task_ids[0], description=text)

    def refuse(self, problem: str) -> None:
        """Note an event that cannot be sent."""
        self.refused.append(problem)
        self._progress.console.print(
            redacted(f"headrace: not sent: {problem}"), highlight=False, markup=False, soft_wrap=True
        )

    def tell(self, *, as_json: bool) -> None:
        """Print what was sent and how fast."""
        seconds = self._seconds()
        if as_json:
            print_json(
                {
                    "target": self.place.name,
                    "kind": self.place.kind,
                    "sent": self.stored,
                    "there_already": self.skipped,
                    "not_sent": self.refused,
                    "seconds": round(seconds, 3),
                    "events_per_s": round(self._rate(), 1),
                }
            )
            return
        already = f"; {count_text(self.skipped, 'event')} of this sending were there already"
        print(
            f"sent {count_text(self.stored, 'event')} to {self.place} in {seconds:.2f} s"
            + (f" ({self._rate():,.0f} events/s)" if self.stored else "")
            + (already if self.skipped else "")
        )
        if self.skipped and not self.stored:
            note("nothing is stored twice; --again sends a second copy")

    def _seconds(self) -> float:
        return (self.clock.monotonic_ns() - self._began_ns) / 1e9

    def _rate(self) -> float:
        return self.stored / max(self._seconds(), 1e-6)
