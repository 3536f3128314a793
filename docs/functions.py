"""Writes functions.md from the catalogue: ``python docs/functions.py > docs/functions.md``.

A test compares the page with what this prints.
"""

import json
import sys
from datetime import datetime

from headrace.sql.catalogue import Group, ResultRule, Signature, all_signatures
from headrace.sql.catalogue.datetimes import DATE_PARTS

HEAD = """# Functions

This page is made from the catalogue that queries are bound against:
`python docs/functions.py > docs/functions.md`.

Names are found in any case and take no prefix. Unless it is said otherwise NULL in gives NULL out, positions
count from 1, lengths are in UTF-16 units, times are in UTC. An argument of another type is converted as by
`CAST`; what cannot be converted stops the job. What they do where the language leaves it open is told in
[the query language](query-language.md#texts).
"""

TABLE_HEAD = "| function | type | what it does | example |\n|---|---|---|---|\n"


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for group in Group:
        rows = [_row(signature) for signature in all_signatures() if signature.group is group]
        parts.append(f"## {group.value.capitalize()} functions\n\n{TABLE_HEAD}")
        parts[-1] += "\n".join(rows) + "\n"
        if group is Group.DATE_TIME:
            parts.append(_date_parts())
    return "\n".join(parts)


def _row(signature: Signature) -> str:
    result = signature.result
    gives = f"_{result.value}_" if isinstance(result, ResultRule) else result.value
    expression, value = signature.example
    cells = [f"`{signature.usage}`", gives, signature.doc, f"`{expression}` is `{_written(value)}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return f'"{value.isoformat(timespec="microseconds")}0Z"'
    return json.dumps(value, ensure_ascii=False)


def _date_parts() -> str:
    spellings: dict[str, list[str]] = {}
    for word, part in DATE_PARTS.items():
        spellings.setdefault(part, []).append(f"`{word}`")
    listed = "; ".join(", ".join(words) for words in spellings.values())
    return f"A part is a bare word: {listed}.\n"


if __name__ == "__main__":
    sys.stdout.write(page())
