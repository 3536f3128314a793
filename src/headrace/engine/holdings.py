"""What an instance has of a job: partitions to read, and with state the tasks that these go with.

A query without state has a task for each partition. One with state has tasks of its own: whoever has one has
its partitions, and in a first stage the line of what it passes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.engine.arrivals import Arranger
from headrace.engine.passing import Passing
from headrace.engine.shares import Shares
from headrace.engine.stateful import StatefulTasks
from headrace.engine.tasks import Place, Tasks


@dataclass(frozen=True, slots=True)
class Holdings:
    """Takes what is ours by our share of the tasks, and gives back what is another's."""

    tasks: Tasks
    stateful: StatefulTasks | None
    passing: Passing | None
    shares: Shares
    arranger: Arranger

    def acquire(self) -> None:
        """Take the tasks that are ours to take. Raises UserError where they cannot be gone on with."""
        stateful = self.stateful
        if stateful is None:
            self.tasks.acquire(lambda number, _: self.shares.takes(number))
            return
        stateful.acquire(self.shares, self.arranger)
        if self.passing is not None:
            self.passing.hold(stateful.owned)
        self.tasks.acquire(lambda _, place: stateful.owns(place))

    def names(self) -> dict[str, bool]:
        """Return the names of our tasks, and whether each goes on with what it kept."""
        if self.stateful is None:
            return dict.fromkeys((task.name for task in self.tasks.owned), False)
        return {task.name: task.restored for task in self.stateful.owned}

    def gives(self) -> bool:
        """Tell whether we have tasks that are another instance's."""
        if self.stateful is not None:
            return bool(self.stateful.given(self.shares))
        return self.tasks.any_owned(lambda number, _: self.shares.gives(number))

    def give_back(self) -> None:
        """Release what is another's; nothing of it may be in hand any more."""
        stateful = self.stateful
        if stateful is None:
            self.tasks.give_back(lambda number, _: self.shares.gives(number))
            return
        given = stateful.given(self.shares)
        self.tasks.give_back(lambda _, place: stateful.goes_with(place, given))
        if self.passing is not None:
            self.passing.hold([task for task in stateful.owned if task not in given])
        stateful.give_back(given)

    def release(self, *, died: bool) -> None:
        """Give all back; a start that did not end in death does not count as one without progress."""
        self.tasks.release(died=died)
        if self.stateful is not None:
            self.stateful.release(died=died)

    def ahead(self) -> set[Place]:
        """Return the partitions to read no more of for now: others have not come as far."""
        if self.stateful is None:
            return set()
        if self.passing is not None:
            return self.passing.ahead(self.stateful.owned)
        return self.stateful.ahead()
