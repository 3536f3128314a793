"""A process measured from outside: its seconds and its memory, with its children's."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_EVERY_S = 0.02
TIMEOUT_S = 900
#: A Java process outlives for a moment the Python process that started it, and must not disturb what follows.
LINGER_S = 10

_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: Where the fields of /proc/PID/stat behind the name of the program say what was used.
_USER, _SYSTEM, _RESIDENT = 11, 12, 21

#: The folder from which the modules of the benchmark are found.
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Measured:
    """What a process took, from its start to its end; `printed` is its standard output."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    printed: str


@dataclass
class _Sampler:
    """Looks at a process and its children now and then: at the memory of all, the processor time of each."""

    pid: int
    peak_pages: int = 0
    ticks: dict[int, int] = field(default_factory=dict)

    def watch(self, stop: threading.Event) -> None:
        while not stop.wait(SAMPLE_EVERY_S):
            self._look()

    def _look(self) -> None:
        pages = 0
        for pid in _family(self.pid):
            fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            if fields:
                pages += int(fields[_RESIDENT])
                self.ticks[pid] = int(fields[_USER]) + int(fields[_SYSTEM])
        self.peak_pages = max(self.peak_pages, pages)

    def wait_for_all(self) -> None:
        """Wait until no process that was seen is there any more."""
        until = time.monotonic() + LINGER_S
        while time.monotonic() < until and any(Path(f"/proc/{pid}").exists() for pid in self.ticks):
            time.sleep(SAMPLE_EVERY_S)


def measured(command: Sequence[str], folder: Path) -> Measured:
    """Run a command to its end. Raises RuntimeError with what it said when it fails."""
    stop = threading.Event()
    with (folder / "stderr.txt").open("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, env=_environment()
        )
        sampler = _Sampler(process.pid)
        watcher = threading.Thread(target=sampler.watch, args=(stop,))
        watcher.start()
        try:
            printed, _ = process.communicate(timeout=TIMEOUT_S)
            wall_s = time.perf_counter() - started
        finally:
            process.kill()
            stop.set()
            watcher.join()
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(
                f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()[-4000:]}"
            )
    sampler.wait_for_all()
    cpu_s = sum(sampler.ticks.values()) / _TICKS_PER_S
    return Measured(wall_s, cpu_s, sampler.peak_pages * _PAGE_BYTES / 1e6, printed)


def _environment() -> dict[str, str]:
    """Return an environment in which modules stay compiled, as they do unless it is forbidden."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def resident_bytes(pid: int) -> int:
    """Return the memory that a process and its children hold."""
    sizes = (_read(f"/proc/{one}/statm").split() for one in _family(pid))
    return sum(int(size[1]) * _PAGE_BYTES for size in sizes if size)


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        found.extend(map(int, _read(f"/proc/{one}/task/{one}/children").split()))
    return found


def _read(path: str) -> str:
    """Return the text of a file of a process, nothing when it has ended."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
