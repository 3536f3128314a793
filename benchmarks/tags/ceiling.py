"""How fast files can be read, and read and parsed, when nothing is done with what they say.

python -m benchmarks.tags.ceiling DATA OUTPUT BATCHES raw|arrow|compiled
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.tags.timed import Batches, timed
from headrace.series.parser import new_parser

HOW = sys.argv[4]
MEMORY = bytearray(16 * 1024 * 1024)
PARSER = new_parser(compiled=HOW == "compiled")


def run(batches: Batches, output: Path) -> int:
    view, points = memoryview(MEMORY), 0
    for files in batches:
        for path in files:
            with path.open("rb", buffering=0) as file:
                size = file.readinto(MEMORY)
            points += MEMORY.count(b"\n", 0, size) if HOW == "raw" else PARSER.parse(view[:size]).lines
    return points


if __name__ == "__main__":
    timed(run)
