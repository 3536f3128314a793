"""The dialect: the grammar of scripts, statements and sources, over the grammar of expressions.

It reads the whole language, also what no plan can hold yet, and refuses at the right word what other SQLs
have and this language has not. Tables, joins and selects are sqlglot's nodes, with the clauses that it does
not know as further arguments.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.tokenizer_core import TokenType

from headrace.errors import QueryError, Span
from headrace.sql import lexer
from headrace.sql.lexer import span_of
from headrace.sql.refusals import JOIN_ADVICE, TAILS
from headrace.sql.syntax import ExpressionParser, place
from headrace.sql.syntax_match import read_match

#: Words that begin a clause after a source, and so are no alias unless AS or brackets say so.
_CLAUSES: Final = (
    "TIMESTAMP",
    "PARTITION",
    "MATCH_RECOGNIZE",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "OPTION",
    "APPLY",
    "PIVOT",
    "NATURAL",
    "USING",
)


class Headrace(Dialect):
    """Headrace's dialect of SQL: the language of Azure Stream Analytics, with Python functions and models."""

    Tokenizer = lexer.Tokenizer

    class Parser(ExpressionParser):
        """Reads a script; `parse` returns a Block of statements for each part between semicolons."""

        def _parse_statement(self) -> exp.Block:
            statements: list[exp.Expr] = []
            self._match(TokenType.SEMICOLON)
            while self._curr:
                statements.append(self._statement())
            return exp.Block(expressions=statements)

        def _statement(self) -> exp.Expr:
            if self._match(TokenType.WITH):
                return self._steps()
            if self._match(TokenType.CREATE):
                return self._create()
            if self._curr.token_type not in (TokenType.SELECT, TokenType.L_PAREN):
                raise self.missing("SELECT or WITH", ("SELECT", "WITH"))
            query = self._query()
            if self._curr.token_type not in (
                TokenType.SELECT,
                TokenType.WITH,
                TokenType.CREATE,
                TokenType.SENTINEL,
            ):
                raise self._wrong_tail()
            return query

        def _wrong_tail(self) -> QueryError:
            word = self._curr.text.upper()
            if self._curr.token_type is not TokenType.IDENTIFIER and word in TAILS:
                problem, advice = TAILS[word]
                return self.error(problem, advice=advice)
            return self.missing("a clause or the next statement")

        def _create(self) -> exp.Create:
            """Return CREATE TABLE input (column type, ...), behind its first word."""
            start = self._prev.start
            self.need_word("TABLE")
            name = self.name("the name of an input")
            self.need(TokenType.L_PAREN, "( and the columns")
            columns = self.separated(self._column_type)
            self.need(TokenType.R_PAREN, ", or )")
            return self.located(exp.Create(this=name, kind="TABLE", expressions=columns), start)

        def _column_type(self) -> exp.ColumnDef:
            start = self._curr.start
            name = self.name("the name of a column")
            return self.located(exp.ColumnDef(this=name, kind=self.type_name()), start)

        def _steps(self) -> exp.With:
            start = self._prev.start
            steps = self.separated(self._step)
            return self.located(exp.With(expressions=steps), start)

        def _step(self) -> exp.CTE:
            name = self.name("the name of a step")
            if self._curr.token_type is TokenType.L_PAREN:
                raise self.error(
                    "a step takes no list of columns", advice="Name the columns in its SELECT list."
                )
            self.need(TokenType.ALIAS, "AS")
            self.need(TokenType.L_PAREN, "( and a SELECT")
            query = self.nested(self._query)
            if not self._match(TokenType.R_PAREN):
                raise self._wrong_tail()
            return self.located(exp.CTE(this=query, alias=name), name.meta["start"])

        # --- SELECT ---------------------------------------------------------------------------------------

        def _query(self) -> exp.Expr:
            """Return a SELECT, or a flat Union of several; as UNION keeps duplicates, ALL changes nothing."""
            start = self._curr.start
            queries = [self._select_or_enclosed()]
            while self._match(TokenType.UNION):
                self._match(TokenType.ALL)
                queries.append(self._select_or_enclosed())
            if len(queries) == 1:
                return queries[0]
            return self.located(exp.Union(expressions=queries), start)

        def _select_or_enclosed(self) -> exp.Expr:
            if not self._match(TokenType.L_PAREN):
                return self._select()
            query = self.nested(self._query)
            if not self._match(TokenType.R_PAREN):
                raise self._wrong_tail()
            return query

        def _select(self) -> exp.Select:
            start = self.need(TokenType.SELECT, "SELECT").start
            self._refuse_quantifier()
            select = exp.Select(expressions=self.separated(self._item))
            if self._match(TokenType.INTO):
                into_start = self._prev.start
                output = self.name("the name of an output")
                self._refuse_compound_name(output, "an output")
                into = exp.Into(this=output)
                if self.word("PARTITION"):
                    self._partition(into)
                select.set("into", self.located(into, into_start))
            if not self._match(TokenType.FROM):
                raise self.missing("INTO or FROM" if not select.args.get("into") else "FROM")
            source, joins = self._from()
            select.set("source", source)
            select.set("joins", joins)
            clause_start = self._curr.start
            if self._match(TokenType.WHERE):
                select.set("where", self.located(exp.Where(this=self.expression_above()), clause_start))
            clause_start = self._curr.start
            if self._match(TokenType.GROUP_BY):
                self.need_word("BY")
                keys = self.separated(self.expression_above)
                select.set("group", self.located(exp.Group(expressions=keys), clause_start))
            clause_start = self._curr.start
            if self._match(TokenType.HAVING):
                select.set("having", self.located(exp.Having(this=self.expression_above()), clause_start))
            return self.located(select, start)

        def _refuse_quantifier(self) -> None:
            if self._curr.token_type is TokenType.DISTINCT:
                raise self.error(
                    "there is no SELECT DISTINCT: a stream has no end at which to compare all rows",
                    advice="GROUP BY the columns and a window, or count with COUNT(DISTINCT column).",
                )
            counts = self._next and self._next.token_type in (TokenType.NUMBER, TokenType.L_PAREN)
            if counts and self._curr.token_type is TokenType.VAR and self._curr.text.upper() == "TOP":
                raise self.error(
                    "there is no SELECT TOP: a stream has no end",
                    advice="Inside a window, CollectTop(n) OVER (ORDER BY ...) takes the first rows.",
                )
            if self._curr.token_type is TokenType.ALL:
                raise self.error("there is no SELECT ALL", advice="Leave ALL out: a SELECT keeps duplicates.")

        def _item(self) -> exp.Expr:
            start = self._curr.start
            if self._match(TokenType.STAR):
                return self.located(exp.Star(), start)
            named = self._curr.token_type in (TokenType.VAR, TokenType.IDENTIFIER)
            if named and self._next.token_type is TokenType.EQ:
                alias = self.name("an alias")
                self._advance()
                return self.located(exp.Alias(this=self.expression_above(), alias=alias), start)
            value = self.expression_above()
            if self._curr.token_type is TokenType.IDENTIFIER and self._curr.text.isdigit():
                array, index = self.sql[start : self._prev.end + 1], self._curr.text
                advice = f"Write GetArrayElement({array}, {index})."
                raise self.error("an element of an array is not taken by brackets", advice=advice)
            named = self._match(TokenType.ALIAS)
            if named or self._curr.token_type in (TokenType.VAR, TokenType.IDENTIFIER):
                if isinstance(value, exp.Dot) and isinstance(value.expression, exp.Star):
                    raise self.error("* takes no alias")
                alias = self.alias() if named else self.name("an alias")
                return self.located(exp.Alias(this=value, alias=alias), start)
            return value

        # --- FROM -----------------------------------------------------------------------------------------

        def _from(self) -> tuple[exp.Table, list[exp.Expr]]:
            """Return the first source and its joins; parentheses around the first joins change nothing."""
            start = self._curr
            if not self._match(TokenType.L_PAREN):
                return self._source(), self._joins()
            if self._curr.token_type is TokenType.SELECT:
                raise self.error(
                    "a SELECT cannot stand in FROM",
                    advice="Make it a WITH step: WITH step AS (SELECT ...) SELECT ... FROM step.",
                )
            source, joins = self.nested(self._from)
            self.need(TokenType.R_PAREN, "a join or )")
            if not joins:
                raise self.error("parentheses in FROM hold a join", span_of(start), "Leave them out.")
            return source, [*joins, *self._joins()]

        def _source(self) -> exp.Table:
            start = self._curr.start
            if self._match(TokenType.L_PAREN, advance=False):
                advice = "Join one source after the other, or make this a WITH step."
                raise self.error("a join cannot stand on the right of a join", advice=advice)
            table = exp.Table(this=self.name("the name of an input or step"))
            self._refuse_compound_name(table.this, "an input or step")
            if self._curr.token_type is TokenType.L_PAREN:
                advice = "GetArrayElements and GetRecordProperties stand after CROSS APPLY."
                raise self.error("a function cannot stand in FROM", place(table.this), advice)
            if self._match(TokenType.ALIAS) or self._is_implicit_alias():
                table.set("alias", self.name("an alias"))
            while self._source_clause(table):
                pass
            if self.word("MATCH_RECOGNIZE"):
                self._match_recognize(table)
            return self.located(table, start)

        def _refuse_compound_name(self, name: exp.Identifier, what: str) -> None:
            """Refuse ``FROM a.b`` and ``FROM a-b`` with what to write."""
            sign = self._curr
            touches = bool(sign) and sign.start == self._prev.end + 1
            if sign.token_type is TokenType.DOT or (touches and sign.token_type is TokenType.DASH):
                span = Span(place(name).start, (self._next or sign).end + 1)
                advice = f"Write [{self.sql[span.start : span.end]}] if that is the whole name."
                raise self.error(f"the name of {what} is one word", span, advice)

        def _is_implicit_alias(self) -> bool:
            if self._curr.token_type is TokenType.VAR:
                return self._curr.text.upper() not in _CLAUSES
            return self._curr.token_type is TokenType.IDENTIFIER

        def _source_clause(self, table: exp.Table) -> bool:
            """Read one TIMESTAMP BY or PARTITION BY, in either order; return whether there was one."""
            start = self._curr
            if self.word("TIMESTAMP"):
                self.need_word("BY")
                if table.args.get("timestamp"):
                    raise self.error("a source has one TIMESTAMP BY", span_of(start))
                table.set("timestamp", self.expression_above())
                if self.word("OVER"):
                    table.set("over", span_of(self._prev))
                    table.set("keys", self.separated(self.expression_above))
                return True
            if self.word("PARTITION"):
                if table.args.get("partition_keys"):
                    raise self.error("a source has one PARTITION BY", span_of(start))
                self._partition(table)
                return True
            return False

        def _match_recognize(self, table: exp.Table) -> None:
            """Read ``(clauses) AS alias``, behind MATCH_RECOGNIZE, into `table`."""
            table.set("match", read_match(self))
            if self._match(TokenType.ALIAS) or self._is_implicit_alias():
                table.set("match_alias", self.name("an alias"))
            word = self._curr.text.upper()
            if self._curr.token_type is TokenType.VAR and word in ("TIMESTAMP", "PARTITION"):
                raise self.error(f"{word} BY of a source stands before MATCH_RECOGNIZE")

        def _partition(self, node: exp.Expr) -> None:
            """Read BY keys [INTO n], behind PARTITION, into `node`."""
            self.need_word("BY")
            node.set("partition_keys", self.separated(self.expression_above))
            if self._match(TokenType.INTO):
                node.set("shards", self.expression_above())

        def _joins(self) -> list[exp.Expr]:
            joins = []
            while (join := self._join()) is not None:
                joins.append(join)
            return joins

        def _join(self) -> exp.Expr | None:
            start = self._curr
            second = self._next.text.upper() if self._next else ""
            match start.token_type:
                case TokenType.COMMA:
                    raise self.error("FROM takes one source", advice=JOIN_ADVICE)
                case TokenType.RIGHT | TokenType.FULL:
                    kind = start.text.upper()
                    raise self.error(f"there is no {kind} JOIN in this language", advice=JOIN_ADVICE)
                case TokenType.CROSS | TokenType.OUTER if second == "APPLY":
                    return self._apply()
                case TokenType.CROSS | TokenType.OUTER:
                    kind = start.text.upper()
                    raise self.error(f"there is no {kind} JOIN in this language", advice=JOIN_ADVICE)
                case TokenType.INNER | TokenType.LEFT | TokenType.JOIN:
                    if start.token_type is not TokenType.JOIN:
                        self._advance()
                        if start.token_type is TokenType.LEFT:
                            self._match(TokenType.OUTER)
                    self.need(TokenType.JOIN, "JOIN")
                    joined = exp.Join(this=self._source(), side=start.text.upper())
                    self.need(TokenType.ON, "ON and the condition of the join")
                    joined.set("on", self.expression_above())
                    return self.located(joined, start.start)
            return None

        def _apply(self) -> exp.Lateral:
            start = self._curr
            self._advance(2)
            call = self.expression_above()
            self._match(TokenType.ALIAS)
            apply = exp.Lateral(
                this=call, alias=self.name("an alias"), outer=start.token_type is TokenType.OUTER
            )
            return self.located(apply, start.start)


_DIALECT: Final = Headrace()


def parse(text: str) -> list[exp.Expr]:
    """Return the statements of a script: With, Select and Union nodes, in order.

    Raises QueryError, with the place, for whatever is not of the language.
    """
    tokens = lexer.tokenize(_DIALECT.tokenizer(), text)
    blocks = _DIALECT.parser().parse(tokens, text)
    return [statement for block in blocks if block for statement in block.expressions]
