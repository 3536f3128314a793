"""What names mean: the declared ones of a script, and the columns that one SELECT can see."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlglot import exp

from headrace.errors import QueryError, Span, did_you_mean
from headrace.events.batch import HIDDEN
from headrace.sql.plan import Scan, qualified
from headrace.sql.syntax import place

#: The columns of a relation, folded name to name; None where the data decide.
Columns = Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Source:
    """A source of a SELECT: its alias, or else its name, and its columns.

    `scan` is the input that it is read from, where it is one. `behind` is the name that FROM gives beside
    an alias: it is no name of the source. `seen` are the folded names of the columns of reference data at
    hand, None where none are.
    """

    name: str
    columns: Columns
    kind: Literal["stream", "reference", "elements"] = "stream"
    scan: Scan | None = None
    behind: str = ""
    seen: frozenset[str] | None = None

    def called(self, name: str) -> bool:
        """Return whether `name` is this source."""
        return name.casefold() == self.name.casefold()

    def may_have(self, name: str) -> bool:
        """Return whether the data may have a column `name`, if it is not known what columns they have."""
        return self.columns is None and (self.seen is None or name.casefold() in self.seen)

    def column(self, name: str) -> str | None:
        """Return the known column called `name`, as it is spelled there; None if there is none."""
        return None if self.columns is None else self.columns.get(name.casefold())


@dataclass(frozen=True, slots=True)
class Scope:
    """The sources of a SELECT; where they are `joined`, columns are qualified by them.

    `aliases` are the names given in the SELECT list: no expression may use them, but an error can say so.
    """

    sources: tuple[Source, ...]
    joined: bool = False
    aliases: frozenset[str] = frozenset()

    @property
    def single(self) -> bool:
        """Whether there is one source alone, whose columns keep their names."""
        return not self.joined

    def source(self, name: str) -> Source | None:
        """Return the source called `name`; None if there is none."""
        return next((source for source in self.sources if source.called(name)), None)

    def hidden(self, name: str) -> Source | None:
        """Return the source that `name` would be, had it no alias and no known column of that name."""
        fold = name.casefold()
        known = any(source.column(name) is not None for source in self.sources)
        return None if known else next((s for s in self.sources if s.behind.casefold() == fold), None)

    def spelled(self, source: Source, column: str) -> str:
        """Return the name under which rows of the SELECT have a column of `source`."""
        return column if self.single else qualified(source.name, column)

    def sources_of(self, columns: Iterable[str]) -> list[Source]:
        """Return the sources that `columns`, named as rows of the SELECT have them, belong to."""
        if self.single:
            return list(self.sources)
        names = list(columns)
        return [
            source
            for source in self.sources
            if any(name.startswith(qualified(source.name, "")) for name in names)
        ]

    def all_columns(self) -> Columns:
        """Return the columns that ``*`` shows."""
        columns: dict[str, str] = {}
        for source in self.sources:
            if source.columns is None:
                return None
            columns = {**source.columns, **columns}
        return columns


class Declared:
    """Names declared for a script, found ignoring case; with None any name that is used is taken."""

    def __init__(self, names: Collection[str] | None) -> None:
        self._open = names is None
        self._by_fold = {name.casefold(): name for name in names or ()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_fold.values())

    def holds(self, name: str) -> bool:
        """Return whether `name` was declared."""
        return not self._open and name.casefold() in self._by_fold

    def find(self, name: str) -> str | None:
        """Return the declared spelling of `name`; None where it is not declared and had to be."""
        if self._open:
            return self._by_fold.setdefault(name.casefold(), name)
        return self._by_fold.get(name.casefold())


@dataclass(slots=True)
class Names:
    """A script's text with its declared names, and what of them the script has used so far.

    `functions` are scalar functions and models, `aggregates` user aggregates, `references` reference data,
    of which `reference_columns` holds the columns of those at hand.
    """

    text: str
    functions: Declared
    inputs: Declared
    outputs: Declared
    aggregates: Declared = field(default_factory=lambda: Declared(()))
    references: Declared = field(default_factory=lambda: Declared(()))
    used_inputs: dict[str, None] = field(default_factory=dict)
    used_functions: dict[str, None] = field(default_factory=dict)
    reference_columns: Mapping[str, Collection[str]] = field(default_factory=dict)
    used_references: dict[str, None] = field(default_factory=dict)

    def error(self, problem: str, where: exp.Expr | Span, advice: str = "") -> QueryError:
        """Return the error at a node or span of the script."""
        span = where if isinstance(where, Span) else place(where)
        return QueryError(problem, self.text, span, advice=advice)

    def written(self, node: exp.Expr) -> str:
        """Return the text that `node` was read from."""
        span = place(node)
        return self.text[span.start : span.end]

    def checked(self, identifier: exp.Identifier) -> str:
        """Return the name of a column, step or alias after a check that it is not the engine's own."""
        name: str = identifier.this
        if name.startswith(HIDDEN):
            raise self.error("names that begin with a unit separator are the engine's own", identifier)
        return name

    def find_input(self, identifier: exp.Identifier, steps: Iterable[str]) -> str:
        """Return the declared spelling of the input that FROM names."""
        name = self.checked(identifier)
        declared = self.inputs.find(name)
        if declared is None:
            known = [*self.inputs, *self.references, *steps]
            advice = did_you_mean(name, known) or f"There are: {', '.join(known) or 'none'}."
            raise self.error(f"there is no input or step called '{name}'", identifier, advice)
        self.used_inputs[declared] = None
        return declared

    def find_output(self, name: str, where: exp.Expr) -> str:
        """Return the declared spelling of the output that INTO names, or that is meant without INTO."""
        declared = self.outputs.find(name)
        if declared is None:
            known = list(self.outputs)
            advice = did_you_mean(name, known) or f"There are: {', '.join(known) or 'none'}."
            raise self.error(f"there is no output called '{name}'", where, advice)
        return declared
