"""Cases of letters, and text backwards: Polars where that maps a character to a character, else Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import polars as pl

from headrace.engine.casts import TEXT, wanted
from headrace.engine.rows import mapped
from headrace.engine.values import Kernel, Scope, Value, of_type
from headrace.sql.plan import Call

_CAPITAL_SIGMA: Final = "\u03a3"
_SMALL_SIGMA: Final = "\u03c3"

#: Characters that Polars does not turn alone: the ends of a line, and letters with what combines with them.
_CLUSTERED: Final = r"[\r[:^ascii:]]"


def by_letter(fast: Callable[[pl.Expr], pl.Expr], one: Callable[[str], str]) -> Kernel:
    """Return the kernel of a function that maps each character to one, by `fast` where that does so.

    `fast` may turn a character into several (as Polars does when it takes 'ß' to 'SS'), but never into none.
    """

    def by_hand(text: str) -> str:
        return "".join(new if len(new := one(letter)) == 1 else letter for letter in text)

    def kernel(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
        value = wanted(scope, call.arguments[0], arguments[0], TEXT)
        text = value.planes[TEXT]
        cased = scope.once(fast(text))
        longer = cased.str.len_chars() != text.str.len_chars()
        return of_type(TEXT, _instead(cased, text, longer, by_hand), value.faults)

    return kernel


def upper(text: pl.Expr) -> pl.Expr:
    """Return `text` in upper case, as Polars has it."""
    return text.str.to_uppercase()


def lower(text: pl.Expr) -> pl.Expr:
    """Return `text` in lower case, a capital sigma never becoming a final one."""
    return text.str.replace_all(_CAPITAL_SIGMA, _SMALL_SIGMA, literal=True).str.to_lowercase()


def reverse(text: pl.Expr) -> pl.Expr:
    """Return the characters of `text` from the last to the first."""
    return _instead(text.str.reverse(), text, text.str.contains(_CLUSTERED), lambda each: each[::-1])


def _instead(result: pl.Expr, text: pl.Expr, where: pl.Expr, by_hand: Callable[[str], str]) -> pl.Expr:
    """Return `result`, but `by_hand` of the text in the rows (few, or none) where `where` is true."""

    def over_texts(given: Sequence[pl.Series]) -> pl.Series:
        (texts,) = given
        if texts.null_count() == len(texts):
            return texts
        done: list[Any] = [None if text is None else by_hand(text) for text in texts]
        return pl.Series(done, dtype=pl.String())

    return pl.coalesce(mapped([pl.when(where).then(text)], over_texts, pl.String()), result)
