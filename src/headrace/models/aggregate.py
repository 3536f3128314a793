"""A user's Python aggregate: a class whose state is plain data, so that it is kept without pickle."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from headrace.errors import DataError, Fatal, Transient, UserError
from headrace.limits import MAX_JSON_DEPTH
from headrace.models.python import failure

#: What is left of a state: scalars, lists, and tuples whose first item says what else it stands for.
Plain: TypeAlias = bool | int | float | str | list["Plain"] | tuple["Plain", ...] | None
AggregateState: TypeAlias = Mapping[str, Plain]

_METHODS: Final = ("init", "accumulate", "compute_result")

#: Spellings of JavaScript aggregates, taken as well.
_ALIASES: Final = {"compute_result": "computeResult"}

_ADVICE: Final = "Keep None, bool, int, float, str, datetime, list, tuple, set or dict in self"

_SCALARS: Final = frozenset({type(None), bool, int, float, str})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class AggregateError(DataError):
    """A user aggregate failed, in its own words.

    `row` is the index of the row among those given to `accumulate`; None where no row is to blame.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        self.row = row
        super().__init__(message)


class UserAggregate(Protocol):
    """What a query calls as an aggregate of the user's: it folds rows into a state, and a state to a value.

    A state is plain data that `accumulate` never changes in place, so it may be kept, copied and saved.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def arguments(self) -> int | None:
        """The number of its SQL arguments; None when it takes a varying number."""
        ...

    def initial(self) -> AggregateState:
        """Return the state before any row."""
        ...

    def accumulate(
        self, state: AggregateState, rows: Sequence[tuple[object, ...]], times: Sequence[datetime], /
    ) -> AggregateState:
        """Return the state after `rows`, tuples of arguments as `models.values.python_rows` makes them.

        `times` are their timestamps, in UTC. Raises AggregateError.
        """
        ...

    def result(self, state: AggregateState, /) -> object:
        """Return the value of `state` for `models.values.PlaneBuilder`. Raises AggregateError."""
        ...


class PythonAggregate:
    """A class with ``init``, ``accumulate(value, timestamp)`` and ``compute_result`` as an aggregate.

    `accumulate` gets the SQL arguments (a record as a dict) and last the event's timestamp, a datetime in
    UTC. All that an object knows is its attributes: None, bool, int, float, str, datetime, list, tuple, set
    and dict; two of them never share a list. ``computeResult`` is taken for ``compute_result``, and
    ``__init__`` does for ``init``.

    Raises UserError for a class that is no aggregate, or whose first state is no plain data.
    """

    def __init__(self, name: str, cls: type) -> None:
        self.name = name
        self._class = cls
        methods = [self._method(method) for method in _METHODS]
        self._init, accumulate, compute_result = methods
        if accumulate is None or compute_result is None:
            missing = "accumulate" if accumulate is None else "compute_result"
            raise UserError(
                f"{name}: an aggregate is a class with init(self), accumulate(self, value, timestamp) and "
                f"compute_result(self); {missing} is missing"
            )
        self._accumulate, self._compute_result = accumulate, compute_result
        self.arguments = _arguments(name, accumulate)
        try:
            self._initial = self._created()
        except AggregateError as error:
            raise UserError(str(error)) from None

    def initial(self) -> AggregateState:
        """Return the state after ``init``."""
        return self._initial

    def accumulate(
        self, state: AggregateState, rows: Sequence[tuple[object, ...]], times: Sequence[datetime], /
    ) -> AggregateState:
        """Return the state after ``accumulate`` was called for each of `rows`, in order."""
        item = self._restored(state)
        for number, (arguments, time) in enumerate(zip(rows, times, strict=True)):
            self._called(self._accumulate, item, (*arguments, time), number)
        return self._saved(item)

    def result(self, state: AggregateState, /) -> object:
        """Return what ``compute_result`` returns."""
        return self._called(self._compute_result, self._restored(state), ())

    # --- the user's code ----------------------------------------------------------------------------------

    def _method(self, name: str) -> Callable[..., object] | None:
        method = getattr(self._class, name, None) or getattr(self._class, _ALIASES.get(name, name), None)
        if method is None or not callable(method):
            return None
        if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
            raise UserError(f"{self.name}: {name} must return its result; async and yield do not")
        return method  # type: ignore[no-any-return]

    def _created(self) -> AggregateState:
        item = self._called(self._class, None, ())
        if not hasattr(item, "__dict__"):
            raise UserError(f"{self.name}: an aggregate keeps its state in attributes; leave __slots__ out")
        if self._init is not None:
            self._called(self._init, item, ())
        return self._saved(item)

    def _called(
        self,
        method: Callable[..., object],
        item: object,
        arguments: tuple[object, ...],
        row: int | None = None,
    ) -> object:
        try:
            return method(*arguments) if item is None else method(item, *arguments)
        except (Transient, Fatal):
            raise
        except (Exception, SystemExit) as error:
            raise AggregateError(failure(self.name, error), row) from None

    # --- states -------------------------------------------------------------------------------------------

    def _saved(self, item: object) -> AggregateState:
        return {
            name: value if type(value) in _SCALARS else self._plain(value, f"self.{name}", MAX_JSON_DEPTH)
            for name, value in vars(item).items()
        }

    def _plain(self, value: Any, path: str, depth: int) -> Plain:
        if isinstance(value, np.generic):
            value = value.item()
        if type(value) in _SCALARS:
            return value  # type: ignore[no-any-return]
        if depth == 0:
            raise UserError(f"{self.name} keeps {path}, which is nested deeper than {MAX_JSON_DEPTH}")
        kind = type(value).__name__
        if type(value) is datetime:
            # A naive time is taken for UTC, as everywhere.
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return (kind, (aware - _EPOCH) // _MICROSECOND)
        if type(value) is list:
            return [self._plain(part, f"{path}[{index}]", depth - 1) for index, part in enumerate(value)]
        if type(value) in (tuple, set, frozenset):
            return (kind, *(self._plain(part, f"an item of {path}", depth - 1) for part in value))
        if type(value) is dict:
            pairs = (
                (
                    self._plain(key, f"a key of {path}", depth - 1),
                    self._plain(part, f"{path}[{key!r}]", depth - 1),
                )
                for key, part in value.items()
            )
            return (kind, *pairs)
        raise UserError(
            f"{self.name} keeps a value of type {kind} in {path}, which cannot be saved. {_ADVICE}"
        )

    def _restored(self, state: AggregateState) -> object:
        item: object = object.__new__(self._class)
        vars(item).update(
            {name: value if type(value) in _SCALARS else _value(value) for name, value in state.items()}
        )
        return item


def is_aggregate(function: object) -> bool:
    """Return whether `function` is a class meant as an aggregate, and not a function to be called per row."""
    return inspect.isclass(function) and hasattr(function, "accumulate")


def _value(plain: Any) -> Any:
    """Return the value that `plain` stands for, sharing nothing with it."""
    if type(plain) is list:
        return [_value(part) for part in plain]
    if type(plain) is not tuple:
        return plain
    kind, *parts = plain
    match kind:
        case "datetime":
            return _EPOCH + parts[0] * _MICROSECOND
        case "tuple":
            return tuple(map(_value, parts))
        case "set":
            return set(map(_value, parts))
        case "frozenset":
            return frozenset(map(_value, parts))
        case _:
            return {_value(key): _value(part) for key, part in parts}


def _arguments(name: str, accumulate: Callable[..., object]) -> int | None:
    """Return how many SQL arguments `accumulate` takes before the timestamp, None when that varies."""
    parameters = list(inspect.signature(accumulate).parameters.values())
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [parameter for parameter in parameters if parameter.kind in by_place]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    if len(taken) < 3 or any(
        parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        for parameter in parameters
    ):
        raise UserError(
            f"{name}: accumulate takes the values of the call and then the event's time: "
            "def accumulate(self, value, timestamp)"
        )
    if any(parameter.default is not parameter.empty for parameter in taken[:-1]):
        return None
    return len(taken) - 2
