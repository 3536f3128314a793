"""Syntax trees and plans of a few scripts, kept in files, which a newer sqlglot must not change unseen.

``HEADRACE_GOLDEN=write pytest tests/unit/test_sql_golden.py`` writes the files anew; read the difference
before you commit it.
"""

import os
from pathlib import Path

import pytest

from headrace.sql.bind import bind
from headrace.sql.dialect import parse
from tests.unit.plan_text import script_text

FOLDER = Path(__file__).parents[1] / "data" / "sql"
SCRIPTS = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.sql"))}


def compare(path, text):
    if os.environ.get("HEADRACE_GOLDEN") == "write":
        path.write_text(text + "\n", "utf-8")
    assert path.read_text("utf-8") == text + "\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_the_syntax_tree_it_always_had(name):
    compare(FOLDER / f"{name}.tree", "\n".join(map(repr, parse(SCRIPTS[name]))))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_the_plan_it_always_had(name):
    declared = {
        "functions": ("classify", "udf.risk"),
        "aggregates": ("uda.spread",),
        "references": ("sites",),
    }
    script = bind(SCRIPTS[name], **declared)
    compare(FOLDER / f"{name}.plan", script_text(script))
