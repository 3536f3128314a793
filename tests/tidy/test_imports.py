"""The import law: low to high, siblings apart, no cycle."""

from graphlib import CycleError, TopologicalSorter

import pytest

from tests.tidy.source import imports, modules, needing_optional_libraries

STEPS = [
    {"errors", "limits", "names", "clock", "faults", "native", "redaction"},
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
#: `headrace test` is the one verb that runs what the tests run.
ALLOWED = {("headrace.cli.test", "testing")}

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
        if (name, folder) in ALLOWED:
            continue
        assert RANK[folder] < RANK[module.folder], f"{module.path}:{line} imports {target}"


def test_no_import_cycle():
    edges = {
        name: {target for target, _ in imports(module, local=False)} - {name}
        for name, module in modules().items()
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {' -> '.join(error.args[1])}")


def test_imports_inside_functions_are_of_optional_libraries_and_what_needs_them_only():
    late = needing_optional_libraries()
    for module in modules().values():
        inside = set(imports(module, local=True)) - set(imports(module, local=False))
        assert {target for target, _ in inside} <= late, f"{module.path}: {inside}"
