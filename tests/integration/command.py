"""Running the command line as a user does: in this process, or as one of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.cli import main

PROJECT = """
[inputs.papers]
kind = "hub"

[inputs.work]
kind = "queue"

[outputs.work]
kind = "queue"

[outputs.titles]
kind = "table"
row_key = "id"

[jobs.copy]
sql = "SELECT id, title INTO titles FROM papers"

[jobs.drain]
sql = "SELECT id, title INTO titles FROM work"
"""


@dataclass(frozen=True)
class Answer:
    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Commands:
    """`headrace` in a folder of its own that holds a project."""

    def __init__(self, folder: Path, capsys, project: str = PROJECT) -> None:
        self.folder, self._capsys = folder, capsys
        self.write("headrace.toml", project)

    def write(self, name: str, content: str | bytes) -> Path:
        file = self.folder / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def __call__(self, *words: object) -> Answer:
        """Run one command line in this process, with the folder's project."""
        return self.without_project(*words, "--project", self.folder)

    def without_project(self, *words: object) -> Answer:
        """Run one command line in this process as it stands."""
        self._capsys.readouterr()
        try:
            code = main([*map(str, words)])
        except SystemExit as leaving:  # argparse has found the words wrong
            code = int(leaving.code or 0)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Answer(code, out, err)

    def process(self, *words: object, crash_at: str = "", **options: Any) -> subprocess.CompletedProcess:
        """Run one command line as a process; `crash_at` names the point that kills it."""
        return subprocess.run(
            [sys.executable, "-m", "headrace.cli", *map(str, words), "--project", str(self.folder)],
            env=os.environ | {"HEADRACE_CRASH_AT": crash_at},
            capture_output=True,
            timeout=60,
            check=False,
            **options,
        )
