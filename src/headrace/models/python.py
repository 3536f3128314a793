"""A user's Python function, called from a query in blocks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeGuard

from headrace.errors import Fatal, Transient, UserError
from headrace.models.scorer import Argument, Scored, check_count
from headrace.models.values import PlaneBuilder, python_rows

_Row = tuple[object, ...]

#: Of an exception's text: some quote a whole document.
_MAX_REASON_CHARS: Final = 500


class PythonFunction:
    """A Python function as a scorer.

    A row function is called once per row with the row's arguments. A batch function is called with a list
    of argument tuples and returns one result per tuple, in order. What the function raises for a row is the
    row's error (the exception's own text, no traceback); when a batch function raises, the block is halved
    until the row at fault is found, so it may see a row more than once. Only `Transient` and `Fatal` pass
    through to the job.

    The type of a result is that of its Python value; results of different types may mix. Raises UserError
    for a function that cannot be called so.
    """

    def __init__(self, name: str, function: Callable[..., object], *, batch: bool = False) -> None:
        if not callable(function):
            raise UserError(f"{name}: {type(function).__name__} is no function")
        if inspect.iscoroutinefunction(function) or (inspect.isgeneratorfunction(function) and not batch):
            raise UserError(f"{name}: a function of a query must return its result; async and yield do not")
        self.name = name
        self.arguments = None if batch else _fixed_arguments(name, function)
        self._function = function
        self._batch = batch

    def score(self, arguments: Sequence[Argument], /) -> Scored:
        """Return the result of every row."""
        check_count(self, arguments)
        if not arguments:
            raise UserError(f"{self.name} needs at least one argument")
        rows, errors = python_rows(arguments)
        results = PlaneBuilder(len(rows))
        numbers = [number for number in range(len(rows)) if number not in errors]
        call = self._call_block if self._batch else self._call_rows
        for number, value in call(rows, numbers, errors):
            try:
                results.put(number, value)
            except ValueError as error:
                errors[number] = f"{self.name} returned what cannot be used: {error}"
        return Scored(results.planes(), errors)

    def _call_rows(
        self, rows: Sequence[_Row], numbers: Sequence[int], errors: dict[int, str]
    ) -> Iterable[tuple[int, object]]:
        for number in numbers:
            try:
                value = self._function(*rows[number])
            except (Transient, Fatal):
                raise
            except (Exception, SystemExit) as error:
                errors[number] = failure(self.name, error)
            else:
                yield number, value

    def _call_block(
        self, rows: Sequence[_Row], numbers: Sequence[int], errors: dict[int, str]
    ) -> Iterable[tuple[int, object]]:
        if not numbers:
            return
        try:
            answer = self._function([rows[number] for number in numbers])
            # A generator runs, and fails, only while it is read.
            results = list(answer) if _one_by_one(answer) else None
        except (Transient, Fatal):
            raise
        except (Exception, SystemExit) as error:
            if len(numbers) == 1:
                errors[numbers[0]] = failure(self.name, error)
                return
            middle = len(numbers) // 2
            yield from self._call_block(rows, numbers[:middle], errors)
            yield from self._call_block(rows, numbers[middle:], errors)
            return
        if results is None or len(results) != len(numbers):
            found = type(answer).__name__ if results is None else f"{len(results)} results"
            raise UserError(
                f"the batch function {self.name} returned {found} for {len(numbers)} rows: "
                "it must return a list with one result per row, in their order"
            )
        yield from zip(numbers, results, strict=True)


def failure(name: str, error: BaseException) -> str:
    """Return the sentence that the user's code called `name` failed, in the exception's own words."""
    try:
        text = str(error)[:_MAX_REASON_CHARS].encode("utf-8", "replace").decode()
    except Exception:
        text = "its message cannot be shown"
    return f"{name} failed: {type(error).__name__}: {text}"


def _one_by_one(answer: object) -> TypeGuard[Iterable[object]]:
    return isinstance(answer, Iterable) and not isinstance(answer, str | bytes | dict)


def _fixed_arguments(name: str, function: Callable[..., object]) -> int | None:
    """Return how many arguments a row function takes, None when that varies or cannot be told."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    if any(parameter.kind is parameter.KEYWORD_ONLY for parameter in required):
        raise UserError(f"{name}: a query gives arguments by place; keyword-only ones need a default")
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [parameter for parameter in parameters if parameter.kind in by_place]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters) or any(
        parameter not in required for parameter in taken
    ):
        return None
    if not taken:
        raise UserError(f"{name}: a function of a query takes at least one argument")
    return len(taken)
