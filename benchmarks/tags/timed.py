"""What every peer does alike: it takes the same batches of files, and says what it took and left behind.

Only the standard library is used here, as peers run in environments of their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

#: Files that are read, written and committed together, as in the paper.
BATCH_FILES = 10

Batches = Sequence[Sequence[Path]]


def batches_of(data: Path, most: int | None = None) -> Batches:
    """Return the files of a dataset in batches, the first `most` of them if that is given."""
    files = sorted(data.rglob("*.csv"))
    cut = [files[at : at + BATCH_FILES] for at in range(0, len(files), BATCH_FILES)]
    return cut[:most]


def timed(run: Callable[[Batches, Path], int]) -> None:
    """Run a peer on what the command line says, ``DATA OUTPUT BATCHES ...``, and print what it took.

    `run` returns how many points it has read. No number of batches, 0, is all of them.
    """
    data, output, most = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    output.mkdir(parents=True, exist_ok=True)
    batches = batches_of(data, most or None)
    started, busy_s = time.perf_counter(), time.process_time()
    points = run(batches, output)
    took_s, busy_s = time.perf_counter() - started, time.process_time() - busy_s
    files = [path for path in output.rglob("*") if path.is_file()]
    said = {
        "run_s": took_s,
        "run_cpu_s": busy_s,
        "points": points,
        "files": len(files),
        "size_bytes": sum(path.stat().st_size for path in files),
    }
    print(json.dumps(said))
