"""The import law: low to high, siblings apart, no cycle."""

import sys

import pytest

from tests.tidy.source import imports, modules

STEPS = [
    {"errors", "limits", "names", "clock", "faults", "redaction"},
    {"events"},
    {"local", "http", "sql"},
    {"models"},
    {"connect"},
    {"series"},
    {"engine"},
    {"project"},
    {"web", "experiments"},
    {"cli"},
    {"testing"},
]
RANK = {folder: rank for rank, step in enumerate(STEPS) for folder in step}


def test_every_folder_has_a_place_in_the_law():
    unknown = {m.folder for m in modules().values()} - set(RANK) - {"headrace"}
    assert not unknown


@pytest.mark.parametrize("name", modules())
def test_no_module_imports_from_above_or_beside(name):
    module = modules()[name]
    if module.folder == "headrace":
        return
    for target, line in imports(module, local=True):
        folder = modules()[target].folder
        if folder in {module.folder, "headrace"}:
            continue
        if module.folder in STEPS[0] and folder in STEPS[0]:
            continue  # the ground floor is one step of small files; the cycle test keeps it in order
        assert RANK[folder] < RANK[module.folder], f"{module.path}:{line} imports {target}"


def test_no_import_cycle():
    edges = {
        name: {target for target, _ in imports(module, local=False)} for name, module in modules().items()
    }
    done: set[str] = set()

    def visit(name, path):
        assert name not in path, f"cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for target in edges[name] - {name}:
                visit(target, [*path, name])
            done.add(name)

    sys.setrecursionlimit(10_000)
    for name in edges:
        visit(name, [])


def test_imports_inside_functions_are_of_optional_libraries_only():
    for module in modules().values():
        inside = set(imports(module, local=True)) - set(imports(module, local=False))
        assert not inside, f"{module.path}: {inside}"
