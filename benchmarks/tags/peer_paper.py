"""The paper's layout in plain Python: a file for each tag, to which each batch appends its lines.

    python -m benchmarks.tags.peer_paper DATA OUTPUT BATCHES [synced]

With `synced` each file is on the disk before its batch is done: only then could a message be deleted without
risk. A worker that dies between two files, or behind the last, doubles lines in any case.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path

from benchmarks.tags.timed import Batches, timed

SYNCED = "synced" in sys.argv[4:]


def run(batches: Batches, output: Path) -> int:
    points = 0
    for files in batches:
        lines_of: defaultdict[str, list[str]] = defaultdict(list)
        for path in files:
            with path.open() as file:
                for line in file:
                    tag, rest = line.split(",", 1)
                    lines_of[tag].append(rest)
        for tag, lines in lines_of.items():
            points += len(lines)
            with (output / tag).open("a") as file:
                file.writelines(lines)
                if SYNCED:
                    file.flush()
                    os.fsync(file.fileno())
    return points


if __name__ == "__main__":
    timed(run)
