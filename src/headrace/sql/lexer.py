"""The words and signs of the language, over sqlglot's tokenizer; every lexical error has its place."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import ClassVar, Final

from sqlglot import tokens
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from headrace.errors import QueryError, Span
from headrace.limits import MAX_SCRIPT_BYTES

#: Words that are names only in brackets: those of the clauses, and those that other SQLs would write in the
#: same places, so that they are refused by name.
RESERVED: Final[dict[str, TokenType]] = {
    "ALL": TokenType.ALL,
    "AND": TokenType.AND,
    "AS": TokenType.ALIAS,
    "BETWEEN": TokenType.BETWEEN,
    "CASE": TokenType.CASE,
    "CREATE": TokenType.CREATE,
    "CROSS": TokenType.CROSS,
    "DISTINCT": TokenType.DISTINCT,
    "ELSE": TokenType.ELSE,
    "END": TokenType.END,
    "EXCEPT": TokenType.EXCEPT,
    "EXISTS": TokenType.EXISTS,
    "FALSE": TokenType.FALSE,
    "FROM": TokenType.FROM,
    "FULL": TokenType.FULL,
    "GROUP": TokenType.GROUP_BY,
    "HAVING": TokenType.HAVING,
    "IN": TokenType.IN,
    "INNER": TokenType.INNER,
    "INTERSECT": TokenType.INTERSECT,
    "INTO": TokenType.INTO,
    "IS": TokenType.IS,
    "JOIN": TokenType.JOIN,
    "LEFT": TokenType.LEFT,
    "LIKE": TokenType.LIKE,
    "NOT": TokenType.NOT,
    "NULL": TokenType.NULL,
    "ON": TokenType.ON,
    "OR": TokenType.OR,
    "ORDER": TokenType.ORDER_BY,
    "OUTER": TokenType.OUTER,
    "RIGHT": TokenType.RIGHT,
    "SELECT": TokenType.SELECT,
    "THEN": TokenType.THEN,
    "TRUE": TokenType.TRUE,
    "UNION": TokenType.UNION,
    "WHEN": TokenType.WHEN,
    "WHERE": TokenType.WHERE,
    "WITH": TokenType.WITH,
}

_NAME: Final = re.compile(r"[^\W\d][\w$#]*\Z")
_STRANGE: Final = re.compile(r"[^\w$#]|\A\d")

#: What stands between tokens, and what is quoted: enough to find where an unfinished one begins.
_PIECE: Final = re.compile(
    r"--[^\r\n]*|(?P<comment>/\*)|'[^']*(?:''[^']*)*'|\[[^\]]*(?:\]\][^\]]*)*\]|\"[^\"]*(?:\"\"[^\"]*)*\"|(?P<open>['\[\"])"
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")

_UNFINISHED: Final = {
    "'": ("this text is not closed", "Put a ' at its end; a ' inside a text is written ''."),
    "[": ("this name is not closed", "Put a ] at its end."),
    '"': ("this name is not closed", 'Put a " at its end.'),
    "/*": ("this comment is not closed", "Put */ at its end; comments may stand inside comments."),
}


class Tokenizer(tokens.Tokenizer):
    """sqlglot's tokenizer with this language's words, operators and quotes, and no one else's."""

    IDENTIFIERS: ClassVar = [("[", "]"), '"']
    QUOTES: ClassVar = ["'"]
    VAR_SINGLE_TOKENS: ClassVar = {"$", "#"}
    COMMANDS: ClassVar = set()
    KEYWORDS: ClassVar = {
        **RESERVED,
        "<=": TokenType.LTE,
        ">=": TokenType.GTE,
        "!>": TokenType.LTE,
        "!<": TokenType.GTE,
        "<>": TokenType.NEQ,
        "!=": TokenType.NEQ,
        "||": TokenType.DPIPE,
    }


# sqlglot takes Jinja's {# #} for a comment in every dialect; here it would hide a part of the query.
Tokenizer._COMMENTS.pop("{#", None)


def span_of(token: Token) -> Span:
    """Return where `token` stands."""
    return Span(token.start, token.end + 1)


def tokenize(tokenizer: tokens.Tokenizer, text: str) -> list[Token]:
    """Return the tokens of a script.

    Raises QueryError where the script is too long or no valid Unicode, or has an unfinished text, name or
    comment, or a sign that the language does not know.
    """
    _check_size(text)
    try:
        found = tokenizer.tokenize(text)
    except TokenError as error:
        raise _unfinished(text) or QueryError("this cannot be read", text, Span(0, 1)) from error
    if ("/*" in text[found[-1].end + 1 :] if found else "/*" in text) and (problem := _unfinished(text)):
        raise problem
    for token, following in zip_longest(found, found[1:]):
        _check_token(text, token, following)
    return found


def _check_size(text: str) -> None:
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        span = Span(error.start, error.end)
        raise QueryError("this character is half of a surrogate pair", text, span) from None
    if size_bytes > MAX_SCRIPT_BYTES:
        raise QueryError(
            f"the script has {size_bytes} bytes; at most {MAX_SCRIPT_BYTES} are taken",
            text[:80],
            Span(0, 1),
            advice="Split it into several jobs, or keep long lists in reference data.",
        )


def _check_token(text: str, token: Token, following: Token | None) -> None:
    if token.token_type is TokenType.VAR and not _NAME.match(token.text):
        strange = _STRANGE.search(token.text)
        start = token.start + (strange.start() if strange else 0)
        raise QueryError(
            f"unexpected character {text[start]!r}",
            text,
            Span(start, start + 1),
            advice="Names with other signs than letters, digits and _ stand in brackets, as in [a b].",
        )
    if token.token_type is TokenType.NOT and token.text == "!":
        advice = "Write NOT before a condition, and <> or != between values."
        raise QueryError("! alone is no sign of the language", text, span_of(token), advice=advice)
    if token.token_type is TokenType.IDENTIFIER and not token.text:
        raise QueryError("a name may not be empty", text, span_of(token))
    touches = following is not None and following.start == token.end + 1
    if (
        following
        and touches
        and token.token_type is TokenType.NUMBER
        and text[following.start].isidentifier()
    ):
        span = Span(token.start, following.end + 1)
        raise QueryError(
            "this is neither a number nor a name",
            text,
            span,
            advice="Names that begin with a digit stand in [].",
        )


def _unfinished(text: str) -> QueryError | None:
    """Return the error for the text, name or comment that never ends, None when there is none."""
    position = 0
    while piece := _PIECE.search(text, position):
        position = piece.end()
        if piece["open"]:
            problem, advice = _UNFINISHED[piece["open"]]
            return QueryError(problem, text, Span(piece.start(), len(text.rstrip())), advice=advice)
        if piece["comment"]:
            depth = 1
            while depth and (edge := _COMMENT_EDGE.search(text, position)):
                depth += 1 if edge[0] == "/*" else -1
                position = edge.end()
            if depth:
                problem, advice = _UNFINISHED["/*"]
                return QueryError(problem, text, Span(piece.start(), piece.end()), advice=advice)
    return None
