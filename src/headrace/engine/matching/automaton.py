"""The automaton of a pattern: which places for events follow which.

Each variable of the pattern, its repeats written out, is a place that takes one event. Ways through the
pattern are ordered: the left alternative comes first, and a repeat that goes on before one that ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.sql.pattern import Either, Pattern, Repeat, Sequence, Variable

#: The place before the first event.
START = 0

#: The node of the automaton at which the pattern is complete.
_COMPLETE = 0


@dataclass(frozen=True, slots=True)
class Automaton:
    """The places of a pattern, counted from 1; START is before them all.

    `variables` are the variables by place, None for ``.``; `follows` the places that an event can take next,
    the preferred one first; `completes` tells whether the pattern is complete after an event at the place.
    """

    variables: tuple[str | None, ...]
    follows: tuple[tuple[int, ...], ...]
    completes: tuple[bool, ...]


def automaton(pattern: Pattern) -> Automaton:
    """Return the automaton of `pattern`."""
    builder = _Builder()
    entry = builder.entry(pattern, _COMPLETE)
    numbers = {node: number for number, node in enumerate(builder.takers, start=1)}
    variables: list[str | None] = [None]
    reached = [builder.reached(entry)]
    for node in builder.takers:
        variables.append(builder.variables[node])
        reached.append(builder.reached(builder.targets[node][0]))
    return Automaton(
        tuple(variables),
        tuple(tuple(numbers[node] for node in nodes if node != _COMPLETE) for nodes in reached),
        tuple(_COMPLETE in nodes for nodes in reached),
    )


class _Builder:
    """Nodes that take an event and go on, or go on in several ways without one, the preferred first."""

    def __init__(self) -> None:
        self.targets: list[tuple[int, ...]] = [()]
        self.variables: dict[int, str | None] = {}

    @property
    def takers(self) -> list[int]:
        """The nodes that take an event."""
        return list(self.variables)

    def entry(self, pattern: Pattern, then: int) -> int:
        """Return the node at which `pattern` begins, going on at `then` behind it."""
        match pattern:
            case Variable(name):
                node = self._node((then,))
                self.variables[node] = name
                return node
            case Sequence(parts):
                for part in reversed(parts):
                    then = self.entry(part, then)
                return then
            case Either(parts):
                return self._node(tuple(self.entry(part, then) for part in parts))
            case Repeat(part, least, most):
                return self._repeat(part, least, most, then)

    def _repeat(self, part: Pattern, least: int, most: int | None, then: int) -> int:
        if most is None:
            loop = self._node(())
            self.targets[loop] = (self.entry(part, loop), then)
            node = loop
        else:
            node = then
            for _ in range(most - least):
                node = self._node((self.entry(part, node), then))
        for _ in range(least):
            node = self.entry(part, node)
        return node

    def _node(self, targets: tuple[int, ...]) -> int:
        self.targets.append(targets)
        return len(self.targets) - 1

    def reached(self, node: int) -> list[int]:
        """Return the takers, and _COMPLETE, that `node` leads to without an event, the preferred first."""
        found: dict[int, None] = {}
        seen: set[int] = set()
        waiting = [node]
        while waiting:
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            if here == _COMPLETE or here in self.variables:
                found[here] = None
            else:
                waiting += reversed(self.targets[here])
        return list(found)
