"""The grammar of MATCH_RECOGNIZE: its clauses, which come in one order, and its patterns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from headrace.errors import QueryError
from headrace.limits import MAX_PATTERN_EVENTS
from headrace.sql.lexer import span_of
from headrace.sql.pattern import Either, Pattern, Repeat, Sequence, Variable, events
from headrace.sql.syntax import ExpressionParser

_SKIP: Final = "AFTER MATCH SKIP TO NEXT ROW"

#: The clauses by their first words, in their order, each with how it is written.
_CLAUSES: Final = {
    "LIMIT": "LIMIT DURATION(minute, 1)",
    "PARTITION": "PARTITION BY key",
    "MEASURES": "MEASURES LAST(A.field) AS name",
    "ONE": "ONE ROW PER MATCH",
    "AFTER": _SKIP,
    "PATTERN": "PATTERN (A B+)",
    "DEFINE": "DEFINE A AS A.field > 1",
}
_NEEDED: Final = ("LIMIT", "MEASURES", "AFTER", "PATTERN")

_ORDER_ADVICE: Final = (
    "The order is LIMIT DURATION, PARTITION BY, MEASURES, AFTER MATCH SKIP TO NEXT ROW, PATTERN, DEFINE."
)

#: What MATCH_RECOGNIZE of other SQLs has.
_REFUSED: Final = {
    "ALL": ("there is one row per match, not one per event", "Classifier() and COUNT(*) tell of its events."),
    "ORDER": ("MATCH_RECOGNIZE has no ORDER BY: events come in the order of their time", "Leave it out."),
    "SUBSET": ("MATCH_RECOGNIZE has no SUBSET", "Write the aggregates of each variable."),
    "WITHIN": ("MATCH_RECOGNIZE has no WITHIN", "LIMIT DURATION(unit, n), its first clause, bounds a match."),
}

_QUANTIFIERS: Final[dict[TokenType, tuple[int, int | None]]] = {
    TokenType.STAR: (0, None),
    TokenType.PLUS: (1, None),
    TokenType.PLACEHOLDER: (0, 1),
}

_ATOM: Final = (TokenType.VAR, TokenType.IDENTIFIER, TokenType.DOT, TokenType.L_PAREN)


class MatchGrammar:
    """Reads MATCH_RECOGNIZE at the cursor of `parser`."""

    def __init__(self, parser: ExpressionParser) -> None:
        self._parser = parser
        self._readers: dict[str, Callable[[exp.MatchRecognize], None]] = {
            "LIMIT": self._limit,
            "PARTITION": self._partition,
            "MEASURES": self._measures,
            "ONE": self._one_row,
            "AFTER": self._after,
            "PATTERN": self._pattern,
            "DEFINE": self._define,
        }

    def read(self) -> exp.MatchRecognize:
        """Return the clauses in parentheses as a node, read behind the word MATCH_RECOGNIZE.

        `limit` is the call of DURATION, `partition_by` are expressions, `measures` aliased expressions,
        `pattern` is a `Pattern`, `define` holds an Alias for each variable and its condition.
        """
        parser = self._parser
        word = parser._prev
        node = exp.MatchRecognize()
        parser.need(TokenType.L_PAREN, "( and LIMIT DURATION")
        order = list(_CLAUSES)
        found: list[str] = []
        while not parser._match(TokenType.R_PAREN):
            clause = self._clause(order, found)
            found.append(clause)
            start = parser._curr
            parser._advance()
            self._readers[clause](node)
            node.meta[clause] = span_of(start)
        for clause in _NEEDED:
            if clause not in found:
                advice = f"Write {_CLAUSES[clause]}. {_ORDER_ADVICE}"
                name = "LIMIT DURATION" if clause == "LIMIT" else clause
                raise parser.error(f"MATCH_RECOGNIZE needs {name}", span_of(word), advice)
        return parser.located(node, word.start)

    def _clause(self, order: list[str], found: list[str]) -> str:
        """Return the first word of the clause that comes now."""
        parser = self._parser
        word = parser._curr.text.upper() if parser._curr else ""
        if word in _REFUSED:
            problem, advice = _REFUSED[word]
            raise parser.error(problem, advice=advice)
        if parser._curr.token_type is not TokenType.VAR or word not in order:
            raise parser.missing("a clause of MATCH_RECOGNIZE or )", order)
        if word in found:
            raise parser.error(f"{word} is there twice in MATCH_RECOGNIZE")
        if found and order.index(word) < order.index(found[-1]):
            raise parser.error(f"{word} stands before {found[-1]} in MATCH_RECOGNIZE", advice=_ORDER_ADVICE)
        return word

    # --- clauses ------------------------------------------------------------------------------------------

    def _limit(self, node: exp.MatchRecognize) -> None:
        node.set("limit", self._parser.expression_above())

    def _partition(self, node: exp.MatchRecognize) -> None:
        self._parser.need_word("BY")
        node.set("partition_by", self._parser.separated(self._parser.expression_above))

    def _measures(self, node: exp.MatchRecognize) -> None:
        node.set("measures", self._parser.separated(self._measure))

    def _measure(self) -> exp.Alias:
        parser = self._parser
        start = parser._curr.start
        value = parser.expression_above()
        if not parser._match(TokenType.ALIAS):
            raise parser.missing("AS and the name of this measure", ("AS",))
        return parser.located(exp.Alias(this=value, alias=parser.name("the name of a measure")), start)

    def _one_row(self, node: exp.MatchRecognize) -> None:
        for word in ("ROW", "PER", "MATCH"):
            self._parser.need_word(word)

    def _after(self, node: exp.MatchRecognize) -> None:
        parser = self._parser
        parser.need_word("MATCH")
        parser.need_word("SKIP")
        for word in ("TO", "NEXT", "ROW"):
            if not parser.word(word):
                advice = (
                    f"Write {_SKIP}: the next match may begin at the event after the one that this began at."
                )
                raise parser.error("a match skips to the next row and nowhere else", advice=advice)

    def _define(self, node: exp.MatchRecognize) -> None:
        node.set("define", self._parser.separated(self._definition))

    def _definition(self) -> exp.Alias:
        parser = self._parser
        name = parser.name("a variable of the pattern")
        parser.need(TokenType.ALIAS, "AS and a condition")
        return parser.located(exp.Alias(this=parser.expression_above(), alias=name), name.meta["start"])

    # --- patterns -----------------------------------------------------------------------------------------

    def _pattern(self, node: exp.MatchRecognize) -> None:
        self._parser.need(TokenType.L_PAREN, "( and a pattern")
        start = self._parser._prev
        pattern = self._alternatives()
        self._close()
        if events(pattern) > MAX_PATTERN_EVENTS:
            problem = f"this pattern has more than {MAX_PATTERN_EVENTS} places for events"
            raise self._parser.error(problem, span_of(start), "Use +, or smaller numbers in {}.")
        node.set("pattern", pattern)

    def _alternatives(self) -> Pattern:
        parts = [self._sequence()]
        while self._parser._match(TokenType.PIPE):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _sequence(self) -> Pattern:
        parts = [self._repeated()]
        while self._parser._curr.token_type in _ATOM:
            parts.append(self._repeated())
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self) -> Pattern:
        part = self._atom()
        parser = self._parser
        token_type = parser._curr.token_type
        if token_type in _QUANTIFIERS:
            parser._advance()
            part = Repeat(part, *_QUANTIFIERS[token_type])
        elif token_type is TokenType.L_BRACE:
            part = self._counted(part)
        else:
            return part
        if parser._curr.token_type in (*_QUANTIFIERS, TokenType.L_BRACE):
            raise parser.error("one quantifier cannot follow another", advice="Put the first in ( ).")
        return part

    def _counted(self, part: Pattern) -> Repeat:
        """Return ``{n}``, ``{n,}`` or ``{n,m}`` of `part`."""
        parser = self._parser
        start = parser._curr
        parser._advance()
        least = self._count()
        most: int | None = least
        if parser._match(TokenType.COMMA):
            most = None if parser._curr.token_type is TokenType.R_BRACE else self._count()
        parser.need(TokenType.R_BRACE, "}")
        if most is not None and (most < least or most == 0):
            raise parser.error(
                "this takes no event at all", span_of(start), "Write {least,most}, as in {1,3}."
            )
        return Repeat(part, least, most)

    def _count(self) -> int:
        parser = self._parser
        token = parser._curr
        if token.token_type is not TokenType.NUMBER or not token.text.isdecimal():
            raise parser.missing("a number of times", ())
        if len(token.text) > 6:  # Python refuses to read thousands of digits
            raise parser.error(f"at most {MAX_PATTERN_EVENTS} times are taken")
        parser._advance()
        return int(token.text)

    def _atom(self) -> Pattern:
        parser = self._parser
        if parser._match(TokenType.DOT):
            return Variable(None)
        if parser._match(TokenType.L_PAREN):
            pattern = parser.nested(self._alternatives)
            self._close()
            return pattern
        if parser._curr.token_type in (TokenType.VAR, TokenType.IDENTIFIER):
            return Variable(parser.name("a variable").name)
        raise self._wrong_atom()

    def _wrong_atom(self) -> QueryError:
        parser = self._parser
        match parser._curr.token_type:
            case TokenType.CARET:
                return parser.error("a pattern has no ^: a stream has no beginning", advice="Leave it out.")
            case TokenType.R_PAREN | TokenType.PIPE | TokenType.DPIPE:
                return parser.error(
                    "a variable of the pattern is missing here", advice="Write A? for A or nothing."
                )
        return parser.missing("a variable, . or (", ())

    def _close(self) -> None:
        parser = self._parser
        if parser._curr.token_type in (TokenType.DASH, TokenType.COMMA):
            raise parser.error(
                "the variables of a pattern follow one another with blanks between", advice="Write (A B)."
            )
        parser.need(TokenType.R_PAREN, "a variable, a quantifier, | or )")


def read_match(parser: ExpressionParser) -> exp.MatchRecognize:
    """Return the node of MATCH_RECOGNIZE, read behind that word up to its closing parenthesis."""
    return parser.nested(MatchGrammar(parser).read)
