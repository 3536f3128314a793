"""Putting dead letters back: each once, however often that is interrupted."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from headrace.cli.show import count_text, note, waiting
from headrace.local.dead_letters import DEAD_OUTPUT, DEAD_ROW, RETRIED_LINE, DeadLetter, DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace, Transaction
from headrace.local.progress import Progress
from headrace.local.queue import Queue
from headrace.project import Project

#: Where letters came from that can be put back.
_PUT_BACK: Final = frozenset({"hub", "queue"})


class Retry:
    """Puts letters back where they came from, or `to` a hub, and removes them."""

    def __init__(self, project: Project, namespace: Namespace, letters: DeadLetters, to: str | None) -> None:
        self._project, self._namespace, self._letters, self._to = project, namespace, letters, to
        self._progress = Progress(namespace)
        self._hubs: dict[str, Hub] = {}
        self._stack = contextlib.ExitStack()
        self._left: Counter[str] = Counter()

    def run(self, chosen: Iterator[list[DeadLetter]]) -> int:
        """Put letters back; return how many were.

        A hub knows an event that it was given before by the letter's id and attempts, so it comes first and
        the removal after it: a death in between doubles nothing. A queue and the outbox are in the letter's
        own transaction.
        """
        retried = 0
        with self._stack:
            tell = self._stack.enter_context(waiting())
            for letters_of_page in chosen:
                page = [letter for letter in letters_of_page if self._goes_back(letter)]
                for number, letter in enumerate(page):
                    tell(f"{count_text(retried + number, 'dead letter')} retried")
                    if self._to is not None or letter.source_kind == "hub":
                        self._publish(letter)
                retried += self._finish(page)
        self._tell_left()
        return retried

    def _goes_back(self, letter: DeadLetter) -> bool:
        """Tell whether there is a place to put a letter back to; notes what there is none for."""
        if self._to is not None:
            return True
        goes = letter.source_kind in _PUT_BACK
        if letter.source_kind == DEAD_OUTPUT:
            goes = self._is_delivered(letter.job, letter.source)
        if not goes:
            self._left[letter.source_kind] += 1
        return goes

    def _is_delivered(self, job: str, output: str) -> bool:
        """Tell whether the job still writes to an output whose rows may be set aside."""
        if job not in self._project.jobs or not hasattr(self._project.outputs.get(output), "on_error"):
            return False
        return output in {written.name for written in self._project.script(job).outputs}

    def _publish(self, letter: DeadLetter) -> None:
        name = letter.source if self._to is None else self._to
        if name not in self._hubs:
            self._hubs[name] = self._stack.enter_context(Hub.open(self._namespace.hubs_folder, name))
        # With its time, since ids begin anew where a namespace was made anew or put back from a copy.
        producer = f"dead-letter:{letter.id}:{letter.first_us}"
        partition = letter.partition if self._to is None else letter.id % self._hubs[name].partitions
        self._hubs[name].publish_bodies(
            [letter.body], partition=partition, producer=producer, sequence=letter.attempts
        )

    def _finish(self, page: Sequence[DeadLetter]) -> int:
        """Remove letters, putting back what is no hub's in one transaction; return how many there were."""
        rows: dict[tuple[str, str], list[bytes]] = {}
        finished = 0
        with self._namespace.transaction() as tx:
            for letter in page:
                removed = self._letters.delete(tx, [letter.id])  # 0: another process has retried it meanwhile
                if removed and self._to is None and letter.source_kind == "queue":
                    queue = Queue(self._namespace, letter.source)
                    queue.send(tx, [letter.body], tenant=letter.tenant, cost=letter.cost or None)
                elif removed and self._to is None and letter.source_kind == DEAD_OUTPUT:
                    rows.setdefault((letter.job, letter.source), []).append(letter.body)
                finished += removed
            self._put_into_outbox(tx, rows)
        return finished

    def _put_into_outbox(self, tx: Transaction, rows: dict[tuple[str, str], list[bytes]]) -> None:
        sequences: dict[str, int] = {}
        for (job, output), bodies in rows.items():
            if job not in sequences:  # read while nobody else can write
                sequences[job] = self._progress.last_sequence(job, RETRIED_LINE)
            sequences[job] += 1
            block = b"\n".join(bodies)
            self._progress.add_outbox(tx, job, RETRIED_LINE, output, sequences[job], block)

    def _tell_left(self) -> None:
        if rows := self._left[DEAD_ROW]:
            what = "a row that a job made" if rows == 1 else f"{rows:,} rows that jobs made"
            note(
                f"{what} of several events cannot be retried, only dropped: there is no event to put back "
                "(--to HUB publishes the row itself)"
            )
        if lines := self._left["file"]:
            what = "a line of a file" if lines == 1 else f"{lines:,} lines of files"
            note(
                f"{what} cannot be put back: --to HUB publishes them, --raw writes them out, for a new file "
                "that the job reads"
            )
        if rows := self._left[DEAD_OUTPUT]:
            note(
                f"{count_text(rows, 'row')} of outputs cannot be put back: the job does not write there any "
                "more, or to something of another kind (--to HUB publishes them)"
            )
