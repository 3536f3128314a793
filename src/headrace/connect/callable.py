"""A Python function as an output: called with the rows of a block after their commit, at least once.

A block that is handed over again, after a crash or an exception, has the same rows in the same order and the
same delivery id, so that a function which keeps the ids can leave out what it has done.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from headrace.connect.retry import OnError, Patience
from headrace.connect.row_lines import prepare_lines, python_rows
from headrace.connect.sink import Prepared, Refused, Rows
from headrace.errors import DataError, HeadraceError, Transient, UserError
from headrace.models.python import failure


class PythonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="python", tag_field="kind"):
    """``kind = "python"``: calls the function `python`, given as ``file.py:name``, with lists of rows.

    `on_error`, `max_tries` and `give_up_seconds` are the output's `Patience`.
    """

    python: str | None = None
    on_error: OnError = "retry"
    max_tries: Annotated[int, msgspec.Meta(ge=1)] | None = None
    give_up_seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        file_name, _, attribute = (self.python or "").partition(":")
        if not file_name or not attribute:
            raise ValueError('python is missing: expected the function, as "file.py:name"')
        Patience.of(self.on_error, self.max_tries, self.give_up_seconds)

    @property
    def patience(self) -> Patience:
        """How long the target is asked again."""
        return Patience.of(self.on_error, self.max_tries, self.give_up_seconds)


class CallableSink:
    """Calls a function with rows; `output` is what messages call it, `source` tells projects apart.

    The function gets a list of dicts, and the keyword `delivery_id` if it takes one.
    """

    def __init__(
        self, output: str, function: Callable[..., object], source: str, patience: Patience | None = None
    ) -> None:
        self.patience = patience or Patience()
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise UserError(
                f"outputs.{output}.python: the function must do its work when called: no async, no yield"
            )
        self._output, self._function, self._source = output, function, source
        self._takes_id = _takes_id(output, function)

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows; one that is too large fails."""
        return prepare_lines(rows)

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Call the function.

        Raises `Refused` for all rows of the block when it raises DataError, and its own `Refused` if the rows
        that it names are of the block; `Transient` for any exception that is none of Headrace's.
        """
        rows = python_rows(block)
        count = len(rows)  # the list is the function's, which may empty it
        named = {"delivery_id": f"{self._source}:{producer}:{sequence}"} if self._takes_id else {}
        try:
            self._function(rows, **named)
        except Refused as refused:
            self._check(refused, count)
            raise
        except DataError as error:
            raise Refused(
                f"output '{self._output}': {error}", dict.fromkeys(range(count), str(error))
            ) from None
        except HeadraceError:
            raise
        except (Exception, SystemExit) as error:
            raise Transient(f"output '{self._output}': {failure('its function', error)}") from None

    def close(self) -> None:
        """Do nothing: what the function opened is its own."""

    def _check(self, refused: Refused, count: int) -> None:
        """Raise UserError for rows that are not of the block: the same block would come for ever."""
        named = refused.rows
        if (
            named
            and named.keys() <= set(range(count))
            and all(isinstance(why, str) for why in named.values())
        ):
            return
        raise UserError(
            f"output '{self._output}': its function raised Refused with the rows {named!r}, of a block of "
            f"{count:,}. Expected a text that says why, by the number of each row, from 0 to {count - 1:,}"
        ) from refused


def _takes_id(output: str, function: Callable[..., Any]) -> bool:
    """Tell whether a function takes the keyword; raises UserError if it cannot be called with rows."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    for named in ({"delivery_id": ""}, {}):
        try:
            signature.bind([], **named)
        except TypeError:
            continue
        return bool(named)
    raise UserError(
        f"outputs.{output}.python: the function must take a list of rows, and at most the keyword "
        f"delivery_id beside it; it takes {signature}"
    )
