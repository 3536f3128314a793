"""What ``headrace send`` has sent so far: shown while it grows, told at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from headrace.cli.show import count_text, note, print_json, waiting
from headrace.clock import Clock, SystemClock
from headrace.errors import HeadraceError
from headrace.project.sending import Sending
from headrace.project.settings import Place


@dataclass(slots=True)
class Report:
    """Counts of one call; on a terminal they are seen growing while `shown` is entered."""

    place: Place
    sendings: list[Sending] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    papers: int = 0
    clock: Clock = field(default_factory=SystemClock)
    _began_ns: int = field(init=False)
    _show: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self._began_ns = self.clock.monotonic_ns()

    @property
    def stored(self) -> int:
        """Events stored by this call."""
        return self.papers + sum(sending.stored for sending in self.sendings)

    @property
    def skipped(self) -> int:
        """Events that were there already."""
        return sum(sending.skipped for sending in self.sendings)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the progress while events are sent, and what was sent where an error or Ctrl-C ends that."""
        try:
            with waiting() as self._show:
                yield
        except (HeadraceError, KeyboardInterrupt):
            if self.stored:
                note(f"sent {count_text(self.stored, 'event')} to {self.place} before this:")
            raise

    def update(self) -> None:
        """Show how far it is."""
        self._show(f"{count_text(self.stored, 'event')} to {self.place}, {self._rate():,.0f} events/s")

    def refuse(self, problem: str) -> None:
        """Note an event that cannot be sent."""
        self.refused.append(problem)
        note(f"not sent: {problem}")

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
