"""From TOML to typed settings: errors that name the key, and secrets that are never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from headrace.errors import UserError, did_you_mean
from headrace.names import checked_name
from headrace.redaction import remember_secret

Settings = TypeVar("Settings")


def section(
    document: Mapping[str, Any],
    name: str,
    settings: type[Settings] | Mapping[str, type[Settings]],
) -> dict[str, Settings]:
    """Return the named tables of a section, each converted; an error names the key's whole path."""
    tables = document.get(name, {})
    if not isinstance(tables, dict):
        raise UserError(f"{name}: expected tables such as [{name}.something], found {tables!r}")
    found = {}
    for key, table in tables.items():
        path = f"{name}.{checked_name(key, f'key of {name}')}"
        if not isinstance(table, dict):
            raise UserError(f"{path}: expected a table, written [{path}], found {table!r}")
        chosen = _kind(table, path, settings) if isinstance(settings, Mapping) else settings
        found[key] = convert(table, chosen, path)
    return found


def _kind(table: Mapping[str, Any], path: str, kinds: Mapping[str, type[Settings]]) -> type[Settings]:
    kind = table.get("kind")
    if kind is None:
        every: Iterable[Any] = kinds.values()
        known = {field.name for settings in every for field in msgspec.structs.fields(settings)}
        near = next((key for key in table if key not in known and did_you_mean(key, ["kind"])), None)
        hint = f". Did you mean 'kind', where it says '{near}'?" if near is not None else ""
        raise UserError(f"{path}.kind is missing: expected one of {', '.join(kinds)}{hint}")
    if kind not in kinds:
        hint = did_you_mean(str(kind), kinds)
        raise UserError(f"{path}.kind: expected one of {', '.join(kinds)}, found {kind!r}. {hint}".rstrip())
    return kinds[kind]


def convert(table: Mapping[str, Any], settings: type[Settings], path: str) -> Settings:
    """Return a table of the settings as a value of its type. Raises `UserError` with the key's path."""
    try:
        return msgspec.convert(table, settings)
    except msgspec.ValidationError as error:
        raise UserError(_explained(str(error), settings, path)) from None


#: What a person calls the types of settings.
_PLAIN_WORDS: Final = {
    "`str | null`": "a text",
    "`str`": "a text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "a table",
    "got": "found",
}


def _explained(problem: str, settings: type, path: str) -> str:
    """Put msgspec's words (``Expected `int`, got `str` - at `$.instances` ``) in terms of the key's path."""
    unknown = re.search(r"unknown field `([^`]*)`", problem)
    if unknown:
        known = [f.name for f in msgspec.structs.fields(settings)]
        hint = did_you_mean(unknown[1], known) or f"Known keys: {', '.join(known) or 'none'}"
        return f"{path}.{unknown[1]}: no such setting. {hint}"
    what, _, where = problem.partition(" - at `$")
    if what.startswith("Invalid enum value "):
        known = _words(get_type_hints(settings).get(where.strip("`.").partition("[")[0]))
        found = what.removeprefix("Invalid enum value ")
        what = (
            f"Expected one of {', '.join(known)}, found {found}. {did_you_mean(found.strip(chr(39)), known)}"
        )
        what = what.rstrip()
    for word, plain in _PLAIN_WORDS.items():
        what = what.replace(word, plain)
    return f"{path}{where.rstrip('`')}: {what[:1].lower()}{what[1:]}"


def _words(type_: object) -> list[str]:
    """Return the words that a type allows."""
    if get_origin(type_) is Literal:
        return [str(word) for word in get_args(type_)]
    return [word for part in get_args(type_) for word in _words(part)]


_REFERENCE: Final = re.compile(r"\$\{(file:)?([^}]*)\}")


def expanded(value: Any, folder: Path, path: str) -> Any:
    """Replace ``${NAME}`` and ``${file:PATH}`` in every text; what they stand for is a secret from now on."""
    if isinstance(value, dict):
        return {key: expanded(item, folder, f"{path}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [expanded(item, folder, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: _secret(match, folder, path), value)
    return value


def _secret(match: re.Match[str], folder: Path, path: str) -> str:
    from_file, name = bool(match[1]), match[2]
    if from_file:
        try:
            secret = (folder / name).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot read the secret file {name!r}: {error}") from None
    elif name in os.environ:
        secret = os.environ[name]
    else:
        raise UserError(f"{path}: the environment variable {name} is not set")
    remember_secret(secret)
    return secret
