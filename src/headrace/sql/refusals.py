"""What other SQLs write in places of a script, and what to write here instead."""

from __future__ import annotations

from typing import Final

from sqlglot.tokenizer_core import TokenType

#: Where an operand should stand: the problem and the advice.
REFUSED_OPERANDS: Final[dict[TokenType, tuple[str, str]]] = {
    TokenType.SELECT: (
        "a SELECT cannot stand inside an expression",
        "Make it a WITH step and read that step in FROM.",
    ),
    TokenType.EXISTS: (
        "EXISTS is not part of the language",
        "Join with the other stream or with reference data.",
    ),
    TokenType.TRUE: (
        "there is no TRUE in this language",
        "A bit is 1 or 0: write 1, or [true] for a column.",
    ),
    TokenType.FALSE: (
        "there is no FALSE in this language",
        "A bit is 1 or 0: write 0, or [false] for a column.",
    ),
    TokenType.PARAMETER: (
        "the language has no variables",
        "Write the value itself, or a column's name without @.",
    ),
    TokenType.STAR: ("* stands only alone in a SELECT list or in COUNT(*)", ""),
}

#: Signs where none can stand.
SIGN_ADVICE: Final = {
    TokenType.AMP: "Conditions are joined with AND.",
    TokenType.DPIPE: "Texts are joined with + or CONCAT, conditions with OR.",
    TokenType.EQ: "Equality is one =.",
}

#: What to write for a join.
JOIN_ADVICE: Final = "Write JOIN or LEFT JOIN with ON; for two streams bound the time with DATEDIFF."

#: Words behind a whole SELECT: the problem and the advice.
TAILS: Final[dict[str, tuple[str, str]]] = {
    "ORDER": (
        "SELECT has no ORDER BY: the rows of a stream come in the order of their time",
        "Inside a window, TopOne and CollectTop take an order: TopOne() OVER (ORDER BY ...).",
    ),
    **{
        word: (
            f"SELECT has no {word}: a stream has no end",
            "Inside a window, CollectTop(n) OVER (ORDER BY ...) takes the first n rows.",
        )
        for word in ("LIMIT", "OFFSET", "FETCH")
    },
    "EXCEPT": (
        "there is no EXCEPT in this language",
        "LEFT JOIN the other stream and keep rows where it IS NULL.",
    ),
    "INTERSECT": ("there is no INTERSECT in this language", "JOIN the two streams instead."),
    "INTO": ("INTO stands before FROM", "Write SELECT ... INTO output FROM input."),
    "AS": (
        "an alias stands right behind the name of its source",
        "Write FROM input AS alias TIMESTAMP BY time.",
    ),
    "TIMESTAMP": (
        "TIMESTAMP BY stands right behind the input that it is of",
        "Write FROM input [AS alias] TIMESTAMP BY time, before JOIN, APPLY and WHERE.",
    ),
    "PARTITION": (
        "PARTITION BY stands right behind the source that it is of",
        "Write FROM input PARTITION BY key, before JOIN, APPLY and WHERE.",
    ),
    "WHERE": ("WHERE stands before GROUP BY, once", "Join conditions with AND; HAVING looks at groups."),
    "GROUP": ("GROUP BY stands before HAVING, once", "Write WHERE ... GROUP BY ... HAVING ..."),
    "HAVING": ("HAVING stands once", "Join conditions with AND."),
    "APPLY": (
        "APPLY needs CROSS or OUTER before it",
        "Write CROSS APPLY GetArrayElements(column) AS element.",
    ),
    "NATURAL": ("there is no NATURAL JOIN in this language", JOIN_ADVICE),
}
