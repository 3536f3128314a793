"""What the pages list is what the code has: functions, settings, commands, folders, figures, links."""

import argparse
import importlib
import re
import subprocess
import sys
from urllib.parse import unquote

import msgspec
import pytest

import headrace as hr
from headrace.cli.main import VERBS
from headrace.project.settings import (
    INPUT_KINDS,
    OUTPUT_KINDS,
    FunctionSettings,
    JobSettings,
    ProjectSettings,
    PublishSettings,
    TenantSettings,
)
from headrace.sql.catalogue import all_signatures
from tests.docs.pages import DOCS, PAGES, ROOT, Table, anchor, headings, parts, section
from tests.docs.reader import Mismatch, Reader
from tests.tidy.test_imports import STEPS

SETTINGS = {
    "project": ProjectSettings,
    **{f'kind = "{kind}"': settings for kind, settings in (OUTPUT_KINDS | INPUT_KINDS).items()},
    'kind = "file" as an output': OUTPUT_KINDS["file"],
    "functions": FunctionSettings,
    "jobs": JobSettings,
    "tenants": TenantSettings,
    "publish": PublishSettings,
}
LISTED = ROOT.glob("examples/*.md")


def test_the_page_of_functions_is_what_the_catalogue_makes():
    made = subprocess.run([sys.executable, DOCS / "functions.py"], capture_output=True, check=True)
    assert made.stdout.decode() == (DOCS / "functions.md").read_text("utf-8")


@pytest.mark.parametrize("signature", all_signatures(), ids=lambda signature: signature.name)
def test_the_example_of_a_function_has_its_value(signature, tmp_path, monkeypatch):
    expression, value = signature.example
    answer = hr.query(f"SELECT {expression} AS value FROM events", {"events": [{}]})["output"]
    found = answer[0]["value"]
    assert (found.replace(tzinfo=None) if hasattr(found, "tzinfo") else found) == value


@pytest.mark.parametrize("heading", SETTINGS)
def test_every_key_of_the_settings_is_listed_with_its_default(heading):
    text = section(DOCS / "settings.md", heading).split("\n#")[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| (?:`(.+?)`|none) \|", text, re.MULTILINE))
    settings = SETTINGS[heading]
    assert listed == {field.name: _toml(field) for field in msgspec.structs.fields(settings)}


def _toml(field):
    """The default of a setting as the page has it; an empty text for none."""
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return "" if value is None else msgspec.json.encode(value).decode()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_section_that_names_all_its_options(verb):
    verbs = argparse.ArgumentParser().add_subparsers()
    importlib.import_module(f"headrace.cli.{verb.replace('-', '_')}").add(verbs)
    text = section(DOCS / "commands.md", verb)
    everywhere = {"-h", "--help", "--project", "--json"}
    for option in _options(verbs.choices[verb]) - everywhere:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), f"{verb} {option}"


def _options(parser):
    found = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {option for below in action.choices.values() for option in _options(below)}
        elif action.help is not argparse.SUPPRESS:
            found |= set(action.option_strings)
    return found


def test_the_architecture_lists_the_folders_and_the_law_as_they_are():
    folders, law = (part.text for part in parts(ROOT / "ARCHITECTURE.md")[1:3])
    listed = set(re.findall(r"^  (\w+)/", folders, re.MULTILINE))
    there = {path.name for path in (ROOT / "src" / "headrace").iterdir() if (path / "__init__.py").exists()}
    assert listed == there
    steps = [set(line.split()) for line in law.splitlines()]
    assert steps == [step & (there | STEPS[0]) for step in STEPS if step & (there | STEPS[0])]


def test_the_figures_of_the_shipped_model_are_its_own():
    held_out = hr.load_model("papers").model.metadata["held_out"]
    [row] = [
        row
        for part in parts(DOCS / "models.md")
        if isinstance(part, Table) and part.heads[0] == "held out by id"
        for row in part.rows
        if row[0] == "all"
    ]
    figures = (f"{held_out['documents']:,}", f"{held_out['accuracy']:.1%}", f"{held_out['top2']:.1%}")
    assert tuple(cell.replace(" ", "") for cell in row[1:]) == figures


def test_every_public_name_of_the_package_is_on_the_page_of_python():
    text = (DOCS / "python.md").read_text("utf-8")
    assert [name for name in hr.__all__ if f"hr.{name}" not in text] == []


@pytest.mark.parametrize("page", [*PAGES, *LISTED], ids=lambda page: page.parent.name + "/" + page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        path, _, name = unquote(target).partition("#")
        if "://" in path:
            continue
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{page.name}: {target}"
        if name:
            assert name in {anchor(text) for _, text, _ in headings(to)}, f"{page.name}: {target}"


def test_every_page_is_reached_from_the_index():
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "index.md").read_text("utf-8")))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


def test_a_reader_notices_what_is_not_so(tmp_path, monkeypatch):
    """The checker is checked: each of these pages holds one untruth."""
    lies = {
        "output": "```console\n$ echo one\ntwo\n```\n",
        "more output": "```console\n$ printf 'one\\ntwo\\n'\none\n```\n",
        "a failing command": "```console\n$ false\n```\n",
        "a verb's output": "```console\n$ headrace check\nno problems\n```\n",
        "python": "```python\nprint(1)\n```\n\n```output\n2\n```\n",
        "python that fails": "```python\n1 / 0\n```\n",
        "a value": "| expression | value |\n|---|---|\n| `1 + 1` | `2.0` |\n",
        "an error": "| expression | value |\n|---|---|\n| `1 / 0` | error: out of range |\n",
        "a condition": '| condition | `{"a": 1}` |\n|---|---|\n| `a = 1` | left out |\n',
        "a refusal": "| statement | refused because |\n|---|---|\n| `SELECT a FROM b` | no reason |\n",
        "a query": "```sql\nSELECT a FRM b\n```\n",
        "its rows": '```json\n{"a": 1}\n```\n\n```sql\nSELECT a FROM b\n```\n\n```output\n{"a":2}\n```\n',
        "settings": "```toml\n[inputs.a]\nkind = 'tap'\n```\n",
        "no reason": "```console no-run\n$ rm everything\n```\n",
    }
    page = tmp_path / "page.md"
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    unnoticed = []
    page = tmp_path / "page.md"
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    unnoticed = []
    for name, text in lies.items():
        page.write_text(text)
        try:
            Reader(tmp_path, monkeypatch).follow(parts(page))
        except Mismatch:
            continue
        unnoticed.append(name)
    assert not unnoticed
