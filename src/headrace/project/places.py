"""Finding a hub, a queue or a table of a project by the name that a user gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.errors import UserError, did_you_mean
from headrace.project.project import Project
from headrace.project.settings import Place, place_of


def find_place(
    project: Project, name: str, kinds: Sequence[str], purpose: str, *, others: Sequence[Place] = ()
) -> Place:
    """Return the place that `name` means: the key of an input or output, or the place's own name.

    `others` are places that the settings do not declare. Raises `UserError` when there is none of `kinds`, or
    when several differ; `purpose` ("to send to") is for its message.
    """
    declared = [*declared_places(project), *((place.name, place) for place in others)]
    by_key = [place for key, place in declared if key == name]
    found = _distinct(by_key, kinds) or _distinct([p for _, p in declared if p.name == name], kinds)
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"'{name}' names {' and '.join(map(str, found))}. "
            f"Say which one {purpose} by a name that only it has"
        )
    wanted = ", ".join(kinds[:-1]) + f" or {kinds[-1]}" if len(kinds) > 1 else kinds[0]
    if by_key:
        raise UserError(f"'{name}' is the {by_key[0]}; a {wanted} is needed {purpose}")
    names = sorted({known for key, place in declared if place.kind in kinds for known in (key, place.name)})
    there_are = f"there are: {', '.join(names)}" if names else f"the project declares no {wanted}"
    raise UserError(
        f"no {wanted} {purpose} is called '{name}'; {there_are}. {did_you_mean(name, names)}".rstrip()
    )


def declared_places(project: Project) -> Iterator[tuple[str, Place]]:
    """Yield the places of a project's inputs and outputs with their keys in the settings."""
    for section in (project.inputs, project.outputs):
        for key, settings in section.items():
            place = place_of(key, settings)
            if place is not None:
                yield key, place


def _distinct(places: Sequence[Place], kinds: Sequence[str]) -> list[Place]:
    """Return the places of `kinds`, each once; the settings of the first, an input's, stay."""
    found: dict[tuple[str, str], Place] = {}
    for place in places:
        if place.kind in kinds:
            found.setdefault((place.kind, place.name), place)
    return list(found.values())
