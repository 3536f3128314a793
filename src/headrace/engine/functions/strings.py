"""The string functions. NULL in gives NULL out, but for CONCAT and CONCAT_WS.

Positions count from 1, lengths and positions in UTF-16 units (see `positions`); finding and replacing heed
case.

- LEN leaves out trailing blanks (U+0020). TRIM, LTRIM and RTRIM take off all white space of Unicode.
- UPPER and LOWER map each character to one: UPPER('ß') is 'ß'.
- LEFT, RIGHT, SUBSTRING and STUFF refuse a negative length. STUFF takes a start below 1 as 1 and gives an
  empty text for a start behind the end.
- CHARINDEX of an empty text is 0. REPLACE of an empty text changes nothing.
- REPLICATE and SPACE give NULL for a negative count and refuse to make a text longer than an event may be.
- NCHAR gives NULL outside 0 to 1114111 and for half a surrogate pair; UNICODE('') is NULL.
- TRANSLATE refuses lists of unequal length; a character that stands twice in the first takes its first
  partner.
- REVERSE turns characters, not units. JSON_PARSE is NULL for what is no text, and for a text that is no
  JSON object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from headrace.engine.casts import BIGINT, RECORD, TEXT, cast, json_texts
from headrace.engine.functions.ecmascript import UNSUPPORTED, find_regex
from headrace.engine.functions.kernels import (
    Check,
    cast_arguments,
    checked,
    placed,
    plain,
    planes_of,
    refuses,
)
from headrace.engine.functions.letters import by_letter, lower, reverse, upper
from headrace.engine.functions.patterns import find_pattern
from headrace.engine.functions.positions import part, position, units
from headrace.engine.rows import per_unique
from headrace.engine.values import Kernel, Scope, Value, faults_of, null, of_type
from headrace.limits import MAX_EVENT_BYTES
from headrace.sql.plan import Call

_BLANK: Final = pl.lit(" ")


def _negative(place: int) -> Check:
    return Check(
        lambda *arguments: arguments[place] < 0,
        refuses(f"A length must not be negative, and this one is {{{place}}}"),
    )


_TOO_LONG: Final = Check(
    lambda text, count: _size(text, count) > MAX_EVENT_BYTES,
    refuses(f"{{1}} times this text is more than {MAX_EVENT_BYTES} bytes"),
)
_TOO_MANY_BLANKS: Final = Check(
    lambda count: count > MAX_EVENT_BYTES, refuses(f"{{0}} blanks are more than {MAX_EVENT_BYTES} bytes")
)


def _len(text: pl.Expr, *, wide: bool) -> pl.Expr:
    return units(text.str.strip_chars_end(" "), wide=wide)


def _left(text: pl.Expr, length: pl.Expr, *, wide: bool) -> pl.Expr:
    return part(text, pl.lit(0, dtype=pl.Int64), length, wide=wide)


def _right(text: pl.Expr, length: pl.Expr, *, wide: bool) -> pl.Expr:
    return part(text, units(text, wide=wide) - length, length, wide=wide)


def _substring(text: pl.Expr, start: pl.Expr, length: pl.Expr, *, wide: bool) -> pl.Expr:
    kept = pl.when(start < 1).then(length.clip(0, MAX_EVENT_BYTES) + start.clip(-MAX_EVENT_BYTES) - 1)
    return part(text, start - 1, kept.otherwise(length), wide=wide)


def _stuff(text: pl.Expr, start: pl.Expr, length: pl.Expr, inserted: pl.Expr, *, wide: bool) -> pl.Expr:
    begin = start.clip(1, MAX_EVENT_BYTES) - 1
    end = begin + length.clip(0, MAX_EVENT_BYTES)
    before = part(text, pl.lit(0, dtype=pl.Int64), begin, wide=wide)
    after = part(text, end, pl.lit(MAX_EVENT_BYTES, dtype=pl.Int64), wide=wide)
    stuffed = pl.concat_str([before, inserted, after])
    nothing = pl.when(inserted.is_not_null() & length.is_not_null()).then(pl.lit(""))
    return pl.when(begin >= units(text, wide=wide)).then(nothing).otherwise(stuffed)


def _charindex(find: pl.Expr, text: pl.Expr, start: pl.Expr | None = None, *, wide: bool) -> pl.Expr:
    skipped = pl.lit(0, dtype=pl.Int64) if start is None else start.clip(1, MAX_EVENT_BYTES) - 1
    rest = text if start is None else part(text, skipped, pl.lit(MAX_EVENT_BYTES, dtype=pl.Int64), wide=wide)
    byte = pl.when(find != "").then(rest.str.find(find, literal=True))
    found = (position(rest, byte, wide=wide) + skipped).fill_null(0)
    return pl.when(find.is_not_null() & text.is_not_null() & skipped.is_not_null()).then(found)


def _concat(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    texts = _as_texts(scope, call, arguments)
    joined = pl.concat_str([text.planes[TEXT].fill_null("") for text in texts])
    return of_type(TEXT, joined, faults_of(texts))


def _concat_ws(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    separator, *texts = _as_texts(scope, call, arguments)
    between = separator.planes[TEXT].fill_null("")
    pieces = [(between + text.planes[TEXT]).fill_null("") for text in texts]
    joined = pl.concat_str(pieces).str.slice(between.str.len_chars())
    return of_type(TEXT, joined, faults_of([separator, *texts]))


def _as_texts(scope: Scope, call: Call, arguments: Sequence[Value]) -> list[Value]:
    pairs = zip(call.arguments, arguments, strict=True)
    return [cast(scope, node, value, TEXT, safe=False) for node, value in pairs]


def _replace(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    values = cast_arguments(scope, call, arguments, [TEXT] * 3)
    text, find, replacement = planes_of(values, [TEXT] * 3)
    pattern, constant = arguments[1].constant, arguments[2].constant
    if isinstance(pattern, str) and pattern and isinstance(constant, str):
        replaced = text.str.replace_all(pattern, constant, literal=True)
    else:
        replaced = per_unique([text, find, replacement], _replaced, pl.String())
    return of_type(TEXT, replaced, faults_of(values))


def _replaced(text: str, find: str, replacement: str) -> str:
    return text.replace(find, replacement) if find else text


def _translate(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    values = cast_arguments(scope, call, arguments, [TEXT] * 3)
    planes = planes_of(values, [TEXT] * 3)
    unequal = Check(
        lambda _, characters, translations: characters.str.len_chars() != translations.str.len_chars(),
        refuses("'{1}' and '{2}' must be of the same length"),
    )
    faults = (*faults_of(values), *checked(call, values, planes, [unequal]))
    characters, translations = arguments[1].constant, arguments[2].constant
    if isinstance(characters, str) and isinstance(translations, str):
        partners = _partners(characters, translations)
        translated = planes[0]
        if partners:
            translated = translated.str.replace_many(list(partners), list(partners.values()))
    else:
        translated = per_unique(planes, _translated, pl.String())
    return of_type(TEXT, translated, faults)


def _partners(characters: str, translations: str) -> dict[str, str]:
    return dict(reversed(list(zip(characters, translations, strict=False))))


def _translated(text: str, characters: str, translations: str) -> str:
    partners = _partners(characters, translations)
    return "".join(partners.get(character, character) for character in text)


def _replicate(text: pl.Expr, count: pl.Expr) -> pl.Expr:
    allowed = pl.when((count >= 0) & (_size(text, count) <= MAX_EVENT_BYTES)).then(count)
    return text.repeat_by(allowed).list.join("")


def _size(text: pl.Expr, count: pl.Expr) -> pl.Expr:
    return text.str.len_bytes().cast(pl.Int64) * count.clip(0, MAX_EVENT_BYTES + 1)


def _space(count: pl.Expr) -> pl.Expr:
    allowed = pl.when((count >= 0) & (count <= MAX_EVENT_BYTES)).then(count)
    return _BLANK.repeat_by(allowed).list.join("")


def _nchar(code: pl.Expr) -> pl.Expr:
    return per_unique([code], _character, pl.String())


def _character(code: int) -> str | None:
    known = 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    return chr(code) if known else None


def _unicode(text: pl.Expr) -> pl.Expr:
    return per_unique([text.str.head(1)], lambda first: ord(first) if first else None, pl.Int64())


def _patindex(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    values = cast_arguments(scope, call, arguments, [TEXT] * 2)
    pattern, text = planes_of(values, [TEXT] * 2)
    found = find_pattern(text, pattern, arguments[0].constant, wide=scope.wide)
    return of_type(BIGINT, found, faults_of(values))


def _regexmatch(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    values = cast_arguments(scope, call, arguments, [TEXT] * 2)
    text, pattern = planes_of(values, [TEXT] * 2)
    found = scope.once(find_regex(text, pattern, arguments[1].constant, wide=scope.wide))
    unsupported = Check(
        lambda *_: found == UNSUPPORTED,
        refuses("The pattern '{1}' cannot be searched for"),
        "its lookbehind must have a fixed width",
    )
    return of_type(
        BIGINT, found, (*faults_of(values), *checked(call, values, [text, pattern], [unsupported]))
    )


def _json_parse(_scope: Scope, _call: Call, arguments: Sequence[Value]) -> Value:
    text = arguments[0].planes.get(TEXT, null(TEXT))
    record = json_texts(text, dict)
    return of_type(RECORD, record, arguments[0].faults)


KERNELS: Final[dict[str, Kernel]] = {
    "CHARINDEX": placed([TEXT, TEXT, BIGINT], BIGINT, _charindex),
    "CONCAT": _concat,
    "CONCAT_WS": _concat_ws,
    "JSON_PARSE": _json_parse,
    "LEFT": placed([TEXT, BIGINT], TEXT, _left, _negative(1)),
    "LEN": placed([TEXT], BIGINT, _len),
    "LOWER": by_letter(lower, str.lower),
    "LTRIM": plain([TEXT], TEXT, lambda text: text.str.strip_chars_start()),
    "NCHAR": plain([BIGINT], TEXT, _nchar),
    "PATINDEX": _patindex,
    "REGEXMATCH": _regexmatch,
    "REPLACE": _replace,
    "REPLICATE": plain([TEXT, BIGINT], TEXT, _replicate, _TOO_LONG),
    "REVERSE": plain([TEXT], TEXT, reverse),
    "RIGHT": placed([TEXT, BIGINT], TEXT, _right, _negative(1)),
    "RTRIM": plain([TEXT], TEXT, lambda text: text.str.strip_chars_end()),
    "SPACE": plain([BIGINT], TEXT, _space, _TOO_MANY_BLANKS),
    "STUFF": placed([TEXT, BIGINT, BIGINT, TEXT], TEXT, _stuff, _negative(2)),
    "SUBSTRING": placed([TEXT, BIGINT, BIGINT], TEXT, _substring, _negative(2)),
    "TRANSLATE": _translate,
    "TRIM": plain([TEXT], TEXT, lambda text: text.str.strip_chars()),
    "UNICODE": plain([TEXT], BIGINT, _unicode),
    "UPPER": by_letter(upper, str.upper),
}
