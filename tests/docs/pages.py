"""The documentation as data: pages, their code blocks and tables, each with its place."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted(DOCS.glob("*.md"))]

_FENCE = re.compile(r"^```(?P<language>\S*)\s*(?P<flags>.*)$")
_FILE_LEAD = re.compile(r"`(?P<name>[\w./-]+\.\w+)`:$")
_CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Block:
    """A fenced block; `file` is the name that the line before it gives it, as in "Save this as `a.sql`:"."""

    page: Path
    line: int
    language: str
    flags: str
    text: str
    file: str | None

    @property
    def place(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Table:
    """A table; `rows` has the cells of each row, code marks and escapes taken off, under `heads`."""

    page: Path
    line: int
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def place(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def parts(page):
    """The blocks and tables of a page, in order."""
    lines = page.read_text("utf-8").split("\n")
    found, lead, number = [], "", 0
    while number < len(lines):
        line = lines[number]
        fence = _FENCE.match(line)
        if fence:
            end = lines.index("```", number + 1)
            name = _FILE_LEAD.search(lead)
            text = "".join(f"{text}\n" for text in lines[number + 1 : end])
            found.append(
                Block(page, number + 1, fence["language"], fence["flags"], text, name and name["name"])
            )
            lead, number = "", end
        elif line.startswith("|") and number + 1 < len(lines) and lines[number + 1].startswith("|-"):
            end = next((n for n in range(number, len(lines)) if not lines[n].startswith("|")), len(lines))
            rows = tuple(_cells(text) for text in lines[number + 2 : end])
            found.append(Table(page, number + 1, _cells(line), rows))
            number = end - 1
        elif line.strip():
            lead = line
        number += 1
    return found


def _cells(line):
    cells = [cell.strip() for cell in _CELL_END.split(line.strip())[1:-1]]
    return tuple(re.sub(r"^`(.*)`$", r"\1", cell).replace("\\|", "|") for cell in cells)


def headings(page):
    """The headings of a page outside its blocks: level, text, number of the line."""
    found, fenced = [], False
    for number, line in enumerate(page.read_text("utf-8").split("\n"), start=1):
        fenced ^= line.startswith("```")
        if not fenced and (match := re.match(r"(#+) (.*)", line)):
            found.append((len(match[1]), match[2].replace("`", ""), number))
    return found


def section(page, heading):
    """The text of a page from a heading to the next of its level or above."""
    lines = page.read_text("utf-8").split("\n")
    found = headings(page)
    level, start = next((level, number) for level, text, number in found if text == heading)
    end = next((n for lv, _, n in found if n > start and lv <= level), len(lines) + 1)
    return "\n".join(lines[start : end - 1])


def anchor(heading):
    """The anchor that a heading gets on the web."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
