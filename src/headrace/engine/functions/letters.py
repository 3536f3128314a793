"""Cases of letters, and text backwards, character by character."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import polars as pl

from headrace.engine.rows import mapped

_CAPITAL_SIGMA: Final = "\u03a3"
_SMALL_SIGMA: Final = "\u03c3"


def upper(text: pl.Expr) -> pl.Expr:
    """Return `text` in upper case, each character mapped to one."""
    return mapped([text], partial(_by_character, fast=_fast_upper, one=str.upper), pl.String())


def lower(text: pl.Expr) -> pl.Expr:
    """Return `text` in lower case, each character mapped to one."""
    return mapped([text], partial(_by_character, fast=_fast_lower, one=str.lower), pl.String())


def reverse(text: pl.Expr) -> pl.Expr:
    """Return the characters of `text` from the last to the first."""
    return mapped([text], _reversed, pl.String())


def _fast_upper(texts: pl.Series) -> pl.Series:
    return texts.str.to_uppercase()


def _fast_lower(texts: pl.Series) -> pl.Series:
    # A capital sigma at the end of a word would become a final sigma.
    return texts.str.replace_all(_CAPITAL_SIGMA, _SMALL_SIGMA, literal=True).str.to_lowercase()


def _by_character(
    arguments: Sequence[pl.Series], *, fast: Callable[[pl.Series], pl.Series], one: Callable[[str], str]
) -> pl.Series:
    """Return `fast` of the texts, done by hand where that turned one character into several."""
    (texts,) = arguments
    cased = fast(texts)
    longer = (cased.str.len_chars() != texts.str.len_chars()).fill_null(value=False)
    if not longer.any():
        return cased
    by_hand = [
        "".join(new if len(new := one(character)) == 1 else character for character in text)
        for text in texts.filter(longer)
    ]
    return cased.scatter(longer.arg_true(), pl.Series(by_hand, dtype=pl.String()))


def _reversed(arguments: Sequence[pl.Series]) -> pl.Series:
    (texts,) = arguments
    # Polars keeps clusters such as a letter with its combining accent, or a line's two ends, in order.
    turned = texts.str.reverse()
    beyond = texts.str.contains(r"[\r[:^ascii:]]").fill_null(value=False)
    if not beyond.any():
        return turned
    by_hand = pl.Series([text[::-1] for text in texts.filter(beyond)], dtype=pl.String())
    return turned.scatter(beyond.arg_true(), by_hand)
