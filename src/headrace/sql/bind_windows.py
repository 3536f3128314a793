"""GROUP BY: its keys, and the one window or set of windows that it must hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlglot import exp

from headrace.errors import QueryError, did_you_mean
from headrace.sql.catalogue import find_entry
from headrace.sql.durations import (
    call_name,
    duration_parts,
    is_call,
    is_call_node,
    is_system,
    length_us,
    named_lengths,
    text_of,
    unit_us,
    whole_number,
)
from headrace.sql.plan import Expression, Hopping, Session, Sliding, Snapshot, Window
from headrace.sql.scope import Names

_ADVICE: Final = "Add one such as TumblingWindow(minute, 1), or System.Timestamp() for events of one instant."

#: The lengths of each kind of window, in the order in which they stand without names.
_LENGTHS: Final[dict[str, tuple[str, ...]]] = {
    "TUMBLING": ("DURATION", "OFFSET"),
    "HOPPING": ("DURATION", "HOP", "OFFSET"),
    "SLIDING": ("DURATION",),
    "SESSION": ("TIMEOUT", "MAXDURATION"),
}
_KINDS: Final = {spelling: kind for kind in _LENGTHS for spelling in (kind, f"{kind}WINDOW")}

#: What a misspelt window may have been meant to be.
_SPELLINGS: Final = (
    *(f"{kind.capitalize()}Window" for kind in _LENGTHS),
    *map(str.capitalize, _LENGTHS),
    "Windows",
)

_NAMES: Final = {
    "DURATION": "the size of a window",
    "HOP": "the hop of a window",
    "OFFSET": "the offset of a window",
    "TIMEOUT": "the timeout of a session",
    "MAXDURATION": "the maximum duration of a session",
}


@dataclass(frozen=True, slots=True)
class Group:
    """A GROUP BY taken apart: its windows, and the keys beside them, not yet bound."""

    windows: tuple[Window, ...]
    keys: tuple[exp.Expr, ...]

    @property
    def has_ids(self) -> bool:
        """Whether the windows have ids."""
        return any(window.id is not None for window in self.windows)


class WindowBinder:
    """Binds the GROUP BY of one SELECT; `key` binds what sessions are partitioned by."""

    def __init__(self, names: Names, key: Callable[[exp.Expr], Expression]) -> None:
        self._names, self._key = names, key

    def group(self, node: exp.Expr) -> Group:
        """Return the windows and keys of a GROUP BY; it must have exactly one window, or set of them."""
        parts: Sequence[exp.Expr] = node.expressions
        windows = [part for part in parts if _is_window(part)]
        instants = [part for part in parts if is_system(part, "TIMESTAMP")]
        if len(windows) > 1:
            advice = "Windows(window, window, ...) holds several windows."
            raise self._names.error("GROUP BY takes one window", windows[1], advice)
        if not windows and not instants:
            raise self._no_window(parts, node)
        if windows:
            bound = self._windows(windows[0])
            keys = [part for part in parts if part is not windows[0]]
        else:
            bound = (Snapshot(),)
            keys = [part for part in parts if part not in instants]
        return Group(bound, tuple(keys))

    def _no_window(self, parts: Sequence[exp.Expr], node: exp.Expr) -> QueryError:
        """Return the error of a GROUP BY without a window; a misspelt one is what is shown."""
        for part in parts:
            call = part.this if isinstance(part, exp.Window) else part
            if not is_call_node(call) or find_entry(call_name(call)):
                continue
            if advice := did_you_mean(call_name(call), _SPELLINGS):
                return self._names.error(f"there is no window {call.this.name}", call, advice)
        return self._names.error("GROUP BY needs a time window", node, _ADVICE)

    def _windows(self, node: exp.Expr) -> tuple[Window, ...]:
        if not is_call(node, "Windows"):
            return (self._window(node),)
        if not node.expressions:
            advice = "Write Windows(TumblingWindow(minute, 1), TumblingWindow(hour, 1))."
            raise self._names.error("Windows() holds one window or more", node, advice)
        bound: list[Window] = []
        for member in node.expressions:
            with_id = is_call(member, "Window")
            if with_id != is_call(node.expressions[0], "Window"):
                advice = "Write Window('id', window) for all of them."
                raise self._names.error("either all windows have an id or none has", member, advice)
            bound.append(
                self._member(member, {window.id for window in bound}) if with_id else self._single(member)
            )
        return tuple(bound)

    def _member(self, node: exp.Expr, taken: set[str | None]) -> Window:
        parts = node.expressions
        name = text_of(self._names, parts[0]) if len(parts) == 2 else None
        if name is None:
            advice = "Write Window('id', TumblingWindow(minute, 1))."
            raise self._names.error("a window with an id is needed here", node, advice)
        if name.casefold() in {known.casefold() for known in taken if known}:
            raise self._names.error(
                f"two windows have the id '{name}'", parts[0], "Upper and lower case are the same."
            )
        return replace(self._single(parts[1]), id=name)

    def _single(self, node: exp.Expr) -> Window:
        """Return a member of Windows()."""
        if is_system(node, "TIMESTAMP"):
            return Snapshot()
        if is_call(node, "Windows", "Window"):
            raise self._names.error("windows do not nest in Windows()", node)
        if not _is_window(node):
            raise self._names.error("a window is needed here", node, _ADVICE)
        return self._window(node)

    def _window(self, node: exp.Expr) -> Window:
        call = node
        keys: tuple[Expression, ...] = ()
        if isinstance(node, exp.Window):
            call, keys = node.this, self._session_keys(node)
        kind = _KINDS[call_name(call)]
        lengths = self._lengths(call, kind)
        match kind:
            case "SLIDING":
                return Sliding(lengths["DURATION"])
            case "SESSION":
                return Session(lengths["TIMEOUT"], lengths["MAXDURATION"], keys)
        size = lengths["DURATION"]
        return Hopping(size, lengths.get("HOP", size), lengths.get("OFFSET", 0))

    def _session_keys(self, node: exp.Window) -> tuple[Expression, ...]:
        if _KINDS[call_name(node.this)] != "SESSION":
            advice = "Write the keys of the groups in GROUP BY."
            raise self._names.error("only a session window takes OVER", node.args["over"], advice)
        for clause in ("order", "limit", "when"):
            if node.args.get(clause):
                raise self._names.error("OVER of a session takes PARTITION BY alone", node.args["over"])
        if not node.args.get("partition_by"):
            raise self._names.error("OVER of a session needs PARTITION BY", node.args["over"])
        return tuple(map(self._key, node.args["partition_by"]))

    def _lengths(self, call: exp.Expr, kind: str) -> dict[str, int]:
        """Return the lengths of a window by what they are, in microseconds."""
        order, entry = _LENGTHS[kind], find_entry(kind)
        parts = call.expressions
        needed = len(order) - ("OFFSET" in order)
        advice = f"Write {entry.usage}." if entry else ""
        if parts and all(call_name(part) in _NAMES for part in parts):
            by_name = named_lengths(self._names, parts)
            for name, part in by_name.items():
                if name not in order:
                    raise self._names.error(f"{call.this.name} takes no {part.this.name}", part, advice)
            given = {
                name: duration_parts(self._names, part, part.this.name) for name, part in by_name.items()
            }
            if any(name not in given for name in order[:needed]):
                raise self._names.error(f"this is no whole {call.this.name}", call, advice)
        else:
            if not needed + 1 <= len(parts) <= len(order) + 1:
                count = f"{len(parts)} argument{'s' if len(parts) != 1 else ''}"
                raise self._names.error(f"{call.this.name} cannot take {count}", call, advice)
            unit = unit_us(self._names, parts[0])
            given = {name: (unit, part) for name, part in zip(order, parts[1:], strict=False)}
        return {name: self._length(name, *length) for name, length in given.items()}

    def _length(self, name: str, unit: int, node: exp.Expr) -> int:
        if name == "OFFSET":
            return whole_number(self._names, node) * unit
        return length_us(self._names, unit, node, _NAMES[name] if name != "DURATION" else "a window")


def _is_window(node: exp.Expr) -> bool:
    call = node.this if isinstance(node, exp.Window) else node
    name = call_name(call)
    return name in _KINDS or (name == "WINDOWS" and call is node)
