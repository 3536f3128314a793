"""The grammar of expressions: sqlglot's cursor and tree, this language's operators, calls and paths.

sqlglot's own expression grammar is not used: it rewrites T-SQL calls, ranks ``& | ^`` otherwise, takes much
that the language has not, and its twenty levels of recursion overflow the stack at forty parentheses. Here
operators are reduced in a loop, so that one level of nesting costs three or four calls, and every node knows
its place in the script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn, TypeVar

from sqlglot import exp
from sqlglot.parser import Parser
from sqlglot.tokenizer_core import Token, TokenType

from headrace.errors import QueryError, Span, did_you_mean
from headrace.limits import MAX_QUERY_DEPTH
from headrace.sql.lexer import RESERVED, span_of
from headrace.sql.refusals import REFUSED_OPERANDS, SIGN_ADVICE

Node = TypeVar("Node", bound=exp.Expr)
Read = TypeVar("Read")

#: Operators by rank, T-SQL's: + - & | ^ are one rank, and all operators of a rank bind from the left.
_OR, _AND, _NOT, _COMPARISON, _TERM, _FACTOR, _SIGN = range(1, 8)

_BINARY: Final[dict[TokenType, tuple[int, type[exp.Expr]]]] = {
    TokenType.OR: (_OR, exp.Or),
    TokenType.AND: (_AND, exp.And),
    TokenType.EQ: (_COMPARISON, exp.EQ),
    TokenType.NEQ: (_COMPARISON, exp.NEQ),
    TokenType.LT: (_COMPARISON, exp.LT),
    TokenType.LTE: (_COMPARISON, exp.LTE),
    TokenType.GT: (_COMPARISON, exp.GT),
    TokenType.GTE: (_COMPARISON, exp.GTE),
    TokenType.PLUS: (_TERM, exp.Add),
    TokenType.DASH: (_TERM, exp.Sub),
    TokenType.AMP: (_TERM, exp.BitwiseAnd),
    TokenType.PIPE: (_TERM, exp.BitwiseOr),
    TokenType.CARET: (_TERM, exp.BitwiseXor),
    TokenType.STAR: (_FACTOR, exp.Mul),
    TokenType.SLASH: (_FACTOR, exp.Div),
    TokenType.MOD: (_FACTOR, exp.Mod),
}

_PREFIX: Final[dict[TokenType, tuple[int, type[exp.Expr] | None]]] = {
    TokenType.NOT: (_NOT, exp.Not),
    TokenType.DASH: (_SIGN, exp.Neg),
    TokenType.TILDE: (_SIGN, exp.BitwiseNot),
    TokenType.PLUS: (_SIGN, None),
}

_PREDICATES: Final = (TokenType.LIKE, TokenType.IN, TokenType.BETWEEN)

#: Tokens that can name a function before a parenthesis; LEFT and RIGHT are words of JOIN, too.
_CALLABLE: Final = (TokenType.VAR, TokenType.IDENTIFIER, TokenType.LEFT, TokenType.RIGHT)

#: What comes behind an item of a SELECT list.
_BEHIND_ALIAS: Final = (TokenType.COMMA, TokenType.FROM, TokenType.INTO)

#: Words that end an expression: what they follow wants an operand.
_BEGINS_CLAUSE: Final = (
    TokenType.FROM,
    TokenType.INTO,
    TokenType.WHERE,
    TokenType.GROUP_BY,
    TokenType.HAVING,
    TokenType.UNION,
)

#: Characters of a misplaced token that an error shows.
_TEXT_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An operator whose right operand is being read; `left` is None before a prefix operator's operand."""

    rank: int
    node: type[exp.Expr] | None
    left: exp.Expr | None
    start: int


def place(node: exp.Expr) -> Span:
    """Return the characters of the script that `node` was read from."""
    return Span(node.meta["start"], node.meta["end"])


class ExpressionParser(Parser):
    """Reads expressions into sqlglot's nodes.

    Every node carries in `meta` its `start` and `end` (exclusive) in the script, the `height` of the
    expressions in it, and `enclosed` if it stood in parentheses, which have no node of their own. AND and OR
    are flat: their operands are `expressions`.
    """

    _nesting = 0

    def reset(self) -> None:
        """Forget everything of the script before."""
        super().reset()
        self._nesting = 0

    # --- places and errors --------------------------------------------------------------------------------

    def error(self, problem: str, span: Span | None = None, advice: str = "") -> QueryError:
        """Return the error at `span`, at the current token when there is none."""
        return QueryError(problem, self.sql, span or self._here(), advice=advice)

    def raise_error(self, message: str, token: Token | None = None) -> NoReturn:
        """Raise what sqlglot's own methods complain about as a QueryError."""
        raise self.error(message[:1].lower() + message[1:], span_of(token) if token else None)

    def _here(self) -> Span:
        if self._curr:
            return span_of(self._curr)
        end = self._prev.end + 1 if self._prev else 0
        return Span(end, end + 1)

    def located(self, node: Node, start: int) -> Node:
        """Return `node`, read from `start` up to the last token, as high as what is in it."""
        height = 0
        for child in node.iter_expressions():
            height = max(height, child.meta["height"])
        node.meta.update(start=start, end=self._prev.end + 1, height=height)
        return node

    def placed(self, node: Node, start: int) -> Node:
        """Return an expression `node`, one level above what is in it, after a check of its height."""
        self.located(node, start)
        if node.meta["height"] >= MAX_QUERY_DEPTH:
            raise self.error(
                f"this expression is more than {MAX_QUERY_DEPTH} levels deep",
                place(node),
                "Compute parts of it in a WITH step; CONCAT joins many texts at once.",
            )
        node.meta["height"] += 1
        return node

    def missing(self, what: str, words: Iterable[str] = tuple(RESERVED)) -> QueryError:
        """Return the error that `what` should stand here, with the nearest of `words` to what does."""
        if not self._curr:
            return self.error(f"{what} is missing at the end")
        advice = SIGN_ADVICE.get(self._curr.token_type, "")
        for token in (self._curr, self._prev):
            if not advice and token.token_type is TokenType.VAR and len(token.text) > 2:
                advice = did_you_mean(token.text, words)
        found = self.sql[self._curr.start : self._curr.end + 1]
        return self.error(f"expected {what} here, not {found[:_TEXT_SHOWN]!r}", advice=advice)

    def need(self, token_type: TokenType, what: str) -> Token:
        """Step over a token of `token_type`, or raise that `what` is expected."""
        if not self._match(token_type):
            raise self.missing(what)
        return self._prev

    def word(self, word: str) -> bool:
        """Step over `word`, one that is not reserved, if it stands here."""
        if self._curr.token_type is not TokenType.VAR or self._curr.text.upper() != word:
            return False
        self._advance()
        return True

    def need_word(self, word: str) -> None:
        """Step over `word`, or raise that it is expected."""
        if not self.word(word):
            raise self.missing(word)

    def separated(self, item: Callable[[], Read]) -> list[Read]:
        """Return one or more items with commas between."""
        items = [item()]
        while self._match(TokenType.COMMA):
            items.append(item())
        return items

    def nested(self, read: Callable[[], Read]) -> Read:
        """Return what `read` reads, one level deeper."""
        self._nesting += 1
        if self._nesting > MAX_QUERY_DEPTH:
            raise self.error(
                f"this is nested more than {MAX_QUERY_DEPTH} levels deep",
                advice="Compute parts of it in a WITH step.",
            )
        found = read()
        self._nesting -= 1
        return found

    # --- names --------------------------------------------------------------------------------------------

    def name(self, what: str) -> exp.Identifier:
        """Return the name of `what`, a step, source, output or alias."""
        if self._curr.token_type in (TokenType.VAR, TokenType.IDENTIFIER):
            self._advance()
            return self._identifier()
        if self._curr.token_type is TokenType.STRING:
            raise self.error(f"a text cannot be {what}", advice=f"Write it in brackets: [{self._curr.text}].")
        if self._curr.text.upper() in RESERVED:
            raise self.error(
                f"expected {what} here, not the reserved word {self._curr.text.upper()}",
                advice=f"Write [{self._curr.text}] for something of that name.",
            )
        raise self.missing(what)

    def alias(self) -> exp.Identifier:
        """Return the alias behind AS: a reserved word, too, where a name alone can be meant."""
        follows = self._next.token_type if self._next else TokenType.SENTINEL
        if self._curr.text.upper() in RESERVED and follows in _BEHIND_ALIAS:
            self._advance()
            return self._identifier()
        return self.name("an alias")

    def _identifier(self) -> exp.Identifier:
        token = self._prev
        quoted = token.token_type is TokenType.IDENTIFIER
        return self.located(exp.Identifier(this=token.text, quoted=quoted), token.start)

    # --- operators ----------------------------------------------------------------------------------------

    def expression_above(self, lowest: int = _OR) -> exp.Expr:
        """Return an expression whose operators rank at least `lowest`.

        Operators wait until one comes that does not bind more tightly, so long chains need no recursion.
        """
        waiting: list[_Waiting] = []
        while True:
            if prefix := _PREFIX.get(self._curr.token_type):
                waiting.append(_Waiting(*prefix, None, self._curr.start))
                self._advance()
                continue
            operand = self._operand()
            while True:
                rank, node = self._operator(lowest)
                while waiting and waiting[-1].rank >= rank:
                    operand = self._reduced(waiting.pop(), operand)
                if not rank:
                    return operand
                if node:
                    break
                operand = self._predicate(operand)
            waiting.append(_Waiting(rank, node, operand, operand.meta["start"]))
            self._advance()

    def _operator(self, lowest: int) -> tuple[int, type[exp.Expr] | None]:
        """Return the rank and node of the operator here; no node for a predicate, rank 0 for no operator."""
        token_type = self._curr.token_type
        if token_type is TokenType.NOT:
            token_type = self._next.token_type if self._next.token_type in _PREDICATES else TokenType.NULL
        if token_type in _PREDICATES or token_type is TokenType.IS:
            return (_COMPARISON, None) if lowest <= _COMPARISON else (0, None)
        rank, node = _BINARY.get(token_type, (0, None))
        return (rank, node) if rank >= lowest else (0, None)

    def _reduced(self, waiting: _Waiting, right: exp.Expr) -> exp.Expr:
        if waiting.left is None:
            if waiting.node is None:
                right.meta["start"] = waiting.start
                return right
            return self.placed(waiting.node(this=right), waiting.start)
        assert waiting.node
        if waiting.node in (exp.And, exp.Or):
            return self._chained(waiting.node, waiting.left, right, waiting.start)
        return self.placed(waiting.node(this=waiting.left, expression=right), waiting.start)

    def _chained(self, node: type[exp.Expr], left: exp.Expr, right: exp.Expr, start: int) -> exp.Expr:
        """Return a chain of AND or OR as one flat node, so that long ones are not deep."""
        if type(left) is not node or left.meta.get("enclosed"):
            return self.placed(node(expressions=[left, right]), start)
        left.append("expressions", right)
        left.meta["end"] = self._prev.end + 1
        left.meta["height"] = max(left.meta["height"], right.meta["height"] + 1)
        return left

    def _predicate(self, left: exp.Expr) -> exp.Expr:
        """Return LIKE, IN, BETWEEN or IS [NOT] NULL over `left`."""
        start = left.meta["start"]
        negated = self._match(TokenType.NOT)
        self._advance()
        match self._prev.token_type:
            case TokenType.LIKE:
                node: exp.Expr = exp.Like(this=left, expression=self.expression_above(_TERM))
                if self.word("ESCAPE"):
                    advice = "REGEXMATCH or CHARINDEX may do."
                    raise self.error("LIKE has no ESCAPE in this language", span_of(self._prev), advice)
            case TokenType.IN:
                self.need(TokenType.L_PAREN, "(")
                items = self.nested(lambda: self.separated(self.expression_above))
                self.need(TokenType.R_PAREN, ", or )")
                node = exp.In(this=left, expressions=items)
            case TokenType.BETWEEN:
                low = self.expression_above(_TERM)
                self.need(TokenType.AND, "AND")
                node = exp.Between(this=left, low=low, high=self.expression_above(_TERM))
            case _:
                negated = self._match(TokenType.NOT)
                if not self._match(TokenType.NULL):
                    raise self.missing("NULL or NOT NULL")
                node = exp.Is(this=left)
        self.placed(node, start)
        return self.placed(exp.Not(this=node), start) if negated else node

    # --- operands -----------------------------------------------------------------------------------------

    def _operand(self) -> exp.Expr:
        token = self._curr
        match token.token_type:
            case TokenType.NUMBER | TokenType.STRING | TokenType.NATIONAL_STRING:
                self._advance()
                text = token.token_type is not TokenType.NUMBER
                return self.placed(exp.Literal(this=token.text, is_string=text), token.start)
            case TokenType.DOT if self._next.token_type is TokenType.NUMBER:
                self._advance(2)
                return self.placed(exp.Literal(this=f"0.{self._prev.text}", is_string=False), token.start)
            case TokenType.NULL:
                self._advance()
                return self.placed(exp.Null(), token.start)
            case TokenType.L_PAREN:
                return self._path(self.nested(self._enclosed))
            case TokenType.CASE:
                return self._path(self.nested(self._case))
        callable_ = token.token_type in _CALLABLE and self._next.token_type is TokenType.L_PAREN
        if callable_ or token.token_type in (TokenType.VAR, TokenType.IDENTIFIER):
            return self._path(self._first_name())
        if token.token_type in REFUSED_OPERANDS:
            problem, advice = REFUSED_OPERANDS[token.token_type]
            raise self.error(problem, advice=advice)
        if token.text.upper() not in RESERVED:
            raise self.missing("an expression")
        advice = f"Write [{token.text}] for a column of that name."
        if token.token_type in _BEGINS_CLAUSE:
            advice = f"Something is missing before {token.text.upper()}. {advice}"
        if self._prev.token_type is TokenType.COMMA:
            advice = "Leave out the comma before it."
        problem = f"expected an expression here, not the reserved word {token.text.upper()}"
        raise self.error(problem, advice=advice)

    def _enclosed(self) -> exp.Expr:
        start = self._curr.start
        self._advance()
        node = self.expression_above()
        if self._match(TokenType.COMMA, advance=False):
            raise self.error("a list of values stands only after IN")
        self.need(TokenType.R_PAREN, ")")
        node.meta.update(start=start, end=self._prev.end + 1, enclosed=True)
        return node

    def _case(self) -> exp.Case:
        start = self._curr.start
        self._advance()
        operand = None if self._match(TokenType.WHEN, advance=False) else self.expression_above()
        branches = []
        while self._match(TokenType.WHEN):
            branch_start = self._prev.start
            condition = self.expression_above()
            self.need(TokenType.THEN, "THEN")
            branch = exp.If(this=condition, true=self.expression_above())
            branches.append(self.located(branch, branch_start))
        if not branches:
            raise self.missing("WHEN")
        default = self.expression_above() if self._match(TokenType.ELSE) else None
        self.need(TokenType.END, "WHEN, ELSE or END")
        return self.placed(exp.Case(this=operand, ifs=branches, default=default), start)

    def _first_name(self) -> exp.Expr:
        self._advance()
        identifier = self._identifier()
        if self._curr.token_type is TokenType.L_PAREN:
            return self.nested(partial(self._call, identifier, []))
        return self.placed(exp.Column(this=identifier), identifier.meta["start"])

    def _path(self, node: exp.Expr) -> exp.Expr:
        """Return `node` with the properties, star or prefixed call that dots add to it."""
        start = node.meta["start"]
        while self._match(TokenType.DOT):
            token = self._curr
            if not self._can_follow_dot(token):
                raise self.missing("a name after the dot")
            self._advance()
            if token.token_type is TokenType.STAR:
                star = self.placed(exp.Star(), token.start)
                return self.placed(exp.Dot(this=node, expression=star), start)
            identifier = self._identifier()
            if self._curr.token_type is TokenType.L_PAREN:
                node = self.nested(partial(self._call, identifier, self._prefix(node)))
            else:
                node = self.placed(exp.Dot(this=node, expression=identifier), start)
        return node

    def _can_follow_dot(self, token: Token) -> bool:
        """Return whether `token` names a property: any word does, a reserved one right after the dot only."""
        if token.token_type in (TokenType.VAR, TokenType.IDENTIFIER, TokenType.STAR):
            return True
        return token.text.upper() in RESERVED and token.start == self._prev.end + 1

    def _prefix(self, node: exp.Expr) -> list[exp.Identifier]:
        names = []
        while isinstance(node, exp.Dot):
            names.append(node.expression)
            node = node.this
        if not isinstance(node, exp.Column):
            raise self.error(
                "a value has no functions of its own", advice="Write f(value) instead of value.f()."
            )
        return [node.this, *reversed(names)]

    # --- calls --------------------------------------------------------------------------------------------

    def _call(self, name: exp.Identifier, prefix: list[exp.Identifier]) -> exp.Expr:
        start = prefix[0].meta["start"] if prefix else name.meta["start"]
        self.need(TokenType.L_PAREN, "(")
        kind = name.name.upper()
        if kind in ("CAST", "TRY_CAST") and not prefix and not name.args.get("quoted"):
            return self._cast(exp.Cast if kind == "CAST" else exp.TryCast, start)
        distinct = self._match(TokenType.DISTINCT)
        arguments = []
        if not self._match(TokenType.R_PAREN, advance=False):
            arguments = self.separated(self._argument)
        self.need(TokenType.R_PAREN, ", or )")
        call = exp.Anonymous(this=name, prefix=prefix, expressions=arguments, distinct=distinct)
        self.placed(call, start)
        if self._curr.text.upper() == "WITHIN" and self._next.token_type is TokenType.GROUP_BY:
            advice = f"Write {name.name}(...) OVER (ORDER BY value)."
            raise self.error("there is no WITHIN GROUP in this language", advice=advice)
        # TIMESTAMP BY f(t) OVER k is another OVER: no parenthesis follows.
        window = self._next.token_type is TokenType.L_PAREN and self.word("OVER")
        return self._over(call) if window else call

    def _argument(self) -> exp.Expr:
        if self._match(TokenType.STAR):
            return self.placed(exp.Star(), self._prev.start)
        return self.expression_above()

    def _cast(self, node: type[exp.Cast], start: int) -> exp.Expr:
        operand = self.expression_above()
        self.need(TokenType.ALIAS, "AS and a type")
        type_name = self.type_name()
        self.need(TokenType.R_PAREN, ")")
        return self.placed(node(this=operand, to=type_name), start)

    def type_name(self) -> exp.Var:
        """Return the name of a type, in lower case, with what stands in parentheses behind it."""
        start = self._curr.start
        text = self.need(TokenType.VAR, "a type").text
        if self._match(TokenType.L_PAREN):
            sizes = self.separated(self.expression_above)
            self.need(TokenType.R_PAREN, ")")
            text += "(" + ",".join(size.name for size in sizes) + ")"
        return self.located(exp.Var(this=text.lower()), start)

    def _over(self, call: exp.Anonymous) -> exp.Window:
        """Return a call with its OVER ([PARTITION BY ..] [ORDER BY ..] [LIMIT DURATION(..)] [WHEN ..])."""
        window = exp.Window(this=call, over=span_of(self._prev))
        self.need(TokenType.L_PAREN, "(")
        if self.word("PARTITION"):
            self.need_word("BY")
            window.set("partition_by", self.separated(self.expression_above))
        if self._match(TokenType.ORDER_BY):
            self.need_word("BY")
            window.set("order", self.separated(self._ordered))
        if self.word("LIMIT"):
            window.set("limit", self._operand())
        if self._match(TokenType.WHEN):
            window.set("when", self.expression_above())
        if not self._match(TokenType.R_PAREN):
            raise self._wrong_in_over()
        return self.placed(window, call.meta["start"])

    def _wrong_in_over(self) -> QueryError:
        error = self.missing("PARTITION BY, ORDER BY, LIMIT DURATION, WHEN or )")
        if self._curr and self._curr.text.upper() in ("PARTITION", "ORDER", "LIMIT"):
            advice = "The order is PARTITION BY, ORDER BY, LIMIT DURATION, WHEN."
            return self.error(f"{self._curr.text.upper()} stands too late in this OVER", advice=advice)
        return error

    def _ordered(self) -> exp.Ordered:
        start = self._curr.start
        key = self.expression_above()
        descending = self.word("DESC")
        if not descending:
            self.word("ASC")
        return self.located(exp.Ordered(this=key, desc=descending), start)
