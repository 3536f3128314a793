"""Habits that a reader relies on: size, documentation, no loose ends, no SQL put together from values."""

import ast
import re
import subprocess

import pytest

from headrace.faults import POINTS
from tests.tidy.source import ROOT, modules

MAX_LINES = 500
MAX_FUNCTION_LINES = 60


@pytest.mark.parametrize("name", modules())
def test_no_file_is_longer_than_a_reader_bears(name):
    assert len(modules()[name].text.splitlines()) <= MAX_LINES


def test_the_median_file_is_short():
    lengths = sorted(len(m.text.splitlines()) for m in modules().values() if m.path.name != "__init__.py")
    assert lengths[len(lengths) // 2] <= 250


@pytest.mark.parametrize("name", modules())
def test_a_function_fits_a_screen(name):
    for node in ast.walk(modules()[name].tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{name}.{node.name} has {lines} lines"


@pytest.mark.parametrize("name", modules())
def test_public_names_are_documented(name):
    module = modules()[name]
    assert ast.get_docstring(module.tree), f"{module.path} says nothing of itself"
    public = [
        node
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]
    nested = {
        inner
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef)
        for inner in ast.walk(node)
        if inner is not node
    }
    hidden = {
        inner
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and node.name.startswith("_")
        for inner in ast.walk(node)
    }
    for node in public:
        if node not in nested and node not in hidden:
            assert ast.get_docstring(node), f"{module.path}:{node.lineno} {node.name} has no docstring"


def test_every_crash_point_is_passed_by_the_code_and_no_other():
    used = re.findall(r'crash_point\("([^"]+)"\)', "\n".join(m.text for m in modules().values()))
    assert sorted(used) == sorted(POINTS)


def test_sql_is_never_put_together_from_values():
    statement = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA)\b\s+\w")
    for module in modules().values():
        if module.folder != "local":
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
                assert not statement.search(text), f"{module.path}:{node.lineno}"


def test_nothing_is_left_undone():
    for module in modules().values():
        found = re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", module.text)
        assert not found, f"{module.path}: {found}"


def test_the_project_speaks_of_itself_alone():
    """No absolute path of one machine, no host of a package registry."""
    words = re.compile(r"(?<![\w.])/(work|farm|root|home)/|pypi\.org/simple|registry\.npmjs")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if name and path.suffix in {".py", ".md", ".toml", ".sql", ".asaql", ""} and path.is_file():
            if path == ROOT / "tests" / "tidy" / "test_habits.py":
                continue
            assert not words.search(path.read_text("utf-8", "replace")), name
