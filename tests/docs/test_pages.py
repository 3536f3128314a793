"""Every command, snippet and table of the documentation does what the page says."""

import pytest

from tests.docs.pages import PAGES, ROOT, Block, parts
from tests.docs.reader import Reader

#: `make` in the README, and what asks the network.
MOST_NOT_RUN = 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_reader_who_follows_the_page_sees_what_it_says(page, tmp_path, monkeypatch):
    Reader(tmp_path, monkeypatch).follow(parts(page))


def test_few_blocks_are_passed_over():
    blocks = [part for page in PAGES for part in parts(page) if isinstance(part, Block)]
    assert sum("no-run" in block.flags for block in blocks) <= MOST_NOT_RUN


def test_the_readme_begins_with_the_two_commands():
    first = next(part for part in parts(ROOT / "README.md") if isinstance(part, Block))
    commands = [line[2:].split("#")[0].strip() for line in first.text.splitlines() if line.startswith("$ ")]
    assert commands == ["make demo", "make test"]
