"""A process measured from outside: its seconds from start to end, its memory with its children's."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_EVERY_S = 0.02
TIMEOUT_S = 900
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
#: The folder from which the modules of the benchmark are found.
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Measured:
    """What a process took; `printed` is its standard output."""

    wall_s: float
    peak_mb: float
    printed: str


def measured(command: Sequence[str], folder: Path) -> Measured:
    """Run a command to its end. Raises RuntimeError with what it said when it fails."""
    stop = threading.Event()
    peaks: list[int] = []
    with (folder / "stderr.txt").open("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        sampler = threading.Thread(target=_sample, args=(process.pid, stop, peaks))
        sampler.start()
        try:
            printed, _ = process.communicate(timeout=TIMEOUT_S)
            wall_s = time.perf_counter() - started
        finally:
            process.kill()
            stop.set()
            sampler.join()
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(
                f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()[-4000:]}"
            )
    return Measured(wall_s, max(peaks, default=0) / 1e6, printed)


def _sample(pid: int, stop: threading.Event, peaks: list[int]) -> None:
    while not stop.wait(SAMPLE_EVERY_S):
        peaks.append(sum(map(_resident_bytes, _family(pid))))


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text()
        except OSError:
            continue
        found.extend(map(int, children.split()))
    return found


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0
