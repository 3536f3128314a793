"""What a machine must give for the promises to hold: a disk that syncs, a clock, a current SQLite, locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import apsw

from headrace.clock import Clock
from headrace.errors import PASSING, UserError
from headrace.local.database import MINIMUM_SQLITE
from headrace.local.read_only import connect_read_only
from headrace.local.sqlite_errors import may_write
from headrace.native import not_compiled

Verdict = Literal["ok", "warn", "fail"]

#: Syncs that are measured; the median of so many is steady enough for a verdict.
_SYNCS: Final = 15
_SYNC_BYTES: Final = 4096

#: No disk or flash cell is written in less: the answer came from a cache that a power cut may empty.
_SUSPICIOUS_SYNC_MS: Final = 0.03

#: Every commit waits for a sync: with slower disks each of them is felt.
_SLOW_SYNC_MS: Final = 50.0

_GIB: Final = 1024**3
_LITTLE_SPACE_BYTES: Final = 2 * _GIB
_NO_SPACE_BYTES: Final = _GIB // 10

#: Reading a file as a whole takes about a second per GiB; a larger one would keep a person waiting.
_LARGEST_CHECKED_BYTES: Final = 4 * _GIB

_PLAUSIBLE_YEARS: Final = range(2025, 2100)

#: A new file's time may differ from the clock by this much; by more, and one of two machines is wrong.
_CLOCK_APART_S: Final = 5.0

#: Their locks and syncs are answered by another machine, or by none.
_NETWORK: Final = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "smb3", "smbfs"}
)
_HOST: Final = frozenset({"9p", "virtiofs", "fuse.grpcfuse", "fakeowner"})
_IN_MEMORY: Final = frozenset({"ramfs", "tmpfs"})

_MOUNTS: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and what to do unless it is ok."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def diagnose(folder: Path, clock: Clock) -> list[Finding]:
    """Examine the machine for data in `folder`, or where that would be made.

    A probe file is made there, synced, locked and removed; nothing else is touched.
    """
    place = _nearest(folder)
    return [
        *_disk(place, clock),
        file_system(place, _mounts()),
        free_space(shutil.disk_usage(place).free),
        wall_clock(clock.now_us()),
        _monotonic_clock(clock),
        sqlite(apsw.sqlite_lib_version()),
        *_stored(folder),
        Finding("Python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        _libraries(),
        compiled_code(not_compiled()),
        _cores(),
    ]


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder


# --- what is stored already --------------------------------------------------------------------------------


def _stored(folder: Path) -> Iterator[Finding]:
    """Yield what the files of the namespace and the hubs are like; each is read as a whole."""
    hubs = [*sorted((folder / "hubs").glob("*.db")), *sorted((folder / "exchanges").rglob("*.db"))]
    for path in [folder / "namespace.db", *hubs]:
        if path.is_file() and path.stat().st_size:
            yield _stored_file(path)


def _stored_file(path: Path) -> Finding:
    if path.stat().st_size > _LARGEST_CHECKED_BYTES:
        return Finding(
            path.name, "ok", f"larger than {_LARGEST_CHECKED_BYTES // _GIB} GiB, so not read as a whole"
        )
    advice = "put back a copy of it, or choose another data folder"
    try:
        with contextlib.closing(_opened(path)) as connection:
            [[answer]] = connection.execute("PRAGMA quick_check(1)")
    except (apsw.CantOpenError, apsw.IOError, UserError) as error:  # it says nothing of what the file holds
        return Finding(
            path.name, "warn", f"not read: {error}", "free some space, or look at a copy on another disk"
        )
    except apsw.Error as error:
        return Finding(path.name, "fail", f"damaged: {error}", advice)
    if answer != "ok":
        return Finding(path.name, "fail", f"damaged: {answer}", advice)
    return Finding(path.name, "ok", "read as a whole, nothing damaged")


def _opened(path: Path) -> apsw.Connection:
    if may_write(path):
        return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    return connect_read_only(path)


# --- the disk ---------------------------------------------------------------------------------------------


def _disk(place: Path, clock: Clock) -> Iterator[Finding]:
    """Yield what a probe file shows: whether it can be written, synced and locked, and when it was made."""
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".headrace-doctor-") as probe:
            times_ms = _sync_ms(probe.fileno(), clock)
            yield Finding("data folder", "ok", f"{place} can be written")
            yield disk_sync(times_ms)
            yield _locks(probe.fileno())
            yield _file_time(probe.fileno(), clock)
    except OSError as error:
        advice = 'make the folder yours, or choose another with data = "..." under [project]'
        if error.errno in PASSING:
            advice = "free some space, or make the disk writable"
        yield Finding("data folder", "fail", f"{place} cannot be written: {error.strerror}", advice)


def _sync_ms(file: int, clock: Clock) -> list[float]:
    times = []
    for number in range(_SYNCS):
        os.pwrite(file, os.urandom(_SYNC_BYTES), number * _SYNC_BYTES)
        began_ns = clock.monotonic_ns()
        os.fsync(file)
        times.append((clock.monotonic_ns() - began_ns) / 1e6)
    return times


def disk_sync(times_ms: Sequence[float]) -> Finding:
    """Judge a disk by how long it takes to sync."""
    median_ms = statistics.median(times_ms)
    found = f"median {median_ms:.3g} ms of {len(times_ms)} syncs (slowest {max(times_ms):.3g} ms)"
    if median_ms < _SUSPICIOUS_SYNC_MS:
        advice = (
            "faster than any disk: a cache may answer, and a power cut may lose what was acknowledged. "
            "Good for trying things out; keep data on a disk whose cache survives"
        )
        return Finding("disk sync", "warn", found, advice)
    if median_ms > _SLOW_SYNC_MS:
        advice = "every commit waits for a sync: expect few small commits a second; an SSD takes about 1 ms"
        return Finding("disk sync", "warn", found, advice)
    return Finding("disk sync", "ok", found)


def _locks(file: int) -> Finding:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except OSError as error:
        advice = "two processes could write at once: keep the data on a local disk"
        return Finding("file locks", "fail", f"do not work: {error.strerror}", advice)
    return Finding("file locks", "ok", "work")


def _file_time(file: int, clock: Clock) -> Finding:
    apart_s = abs(os.fstat(file).st_mtime - clock.now_us() / 1e6)
    if apart_s > _CLOCK_APART_S:
        advice = "the disk is on another machine, or the clock was moved just now: set both by NTP"
        return Finding("file times", "warn", f"{apart_s:.0f} s away from the clock", advice)
    return Finding("file times", "ok", "agree with the clock")


def _mounts() -> str:
    try:
        return _MOUNTS.read_text("utf-8", "replace")
    except OSError:
        return ""


def file_system(place: Path, mounts: str) -> Finding:
    """Judge the file system that holds `place`; `mounts` is the text of ``/proc/self/mountinfo``."""
    kind = _file_system_kind(place.resolve(), mounts)
    if kind is None:
        return Finding("file system", "ok", "not known; it must be a local disk")
    if kind in _NETWORK:
        advice = 'SQLite needs a local disk: choose another folder with data = "..." under [project]'
        return Finding("file system", "fail", f"{kind}, across a network", advice)
    if kind in _HOST:
        advice = "it is shared with the host of this machine: slow, and its locks may not hold there"
        return Finding("file system", "warn", kind, advice)
    if kind in _IN_MEMORY:
        return Finding("file system", "warn", f"{kind}, in memory", "it is gone when the machine stops")
    if kind == "overlay":
        return Finding(
            "file system", "warn", "overlay, of a container", "it goes with the container: mount a volume"
        )
    return Finding("file system", "ok", kind)


def _file_system_kind(place: Path, mounts: str) -> str | None:
    """Return the type of the mount that holds `place`: the last of the longest mount points above it."""
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        with contextlib.suppress(IndexError, ValueError):
            point = Path(fields.split()[4].encode().decode("unicode_escape"))
            depth = len(point.parts)
            if (point == place or point in place.parents) and (best is None or depth >= best[0]):
                best = depth, rest.split()[0]
    return best and best[1]


def free_space(free_bytes: int) -> Finding:
    """Judge the free space of the data's disk."""
    found = f"{free_bytes / _GIB:,.1f} GiB"
    if free_bytes < _NO_SPACE_BYTES:
        advice = "jobs stop when the disk is full; nothing is lost then. Free some space first"
        return Finding("free space", "fail", found, advice)
    if free_bytes < _LITTLE_SPACE_BYTES:
        advice = "hubs keep events until their retention_hours; set some, or give the data a larger disk"
        return Finding("free space", "warn", found, advice)
    return Finding("free space", "ok", found)


# --- clocks -----------------------------------------------------------------------------------------------


def wall_clock(now_us: int) -> Finding:
    """Judge the wall clock, from which enqueued times come."""
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    found = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.year not in _PLAUSIBLE_YEARS:
        advice = "set the clock, best by NTP: enqueued times never go back, so a wrong one stays"
        return Finding("clock", "fail", found, advice)
    return Finding("clock", "ok", found)


def _monotonic_clock(clock: Clock) -> Finding:
    readings = [clock.monotonic_ns() for _ in range(1000)]
    if readings != sorted(readings):
        return Finding(
            "monotonic clock", "fail", "goes backwards", "the machine is not fit: timeouts would err"
        )
    return Finding("monotonic clock", "ok", "never goes back")


# --- software ---------------------------------------------------------------------------------------------


def sqlite(version: str) -> Finding:
    """Judge the SQLite library in use."""
    if tuple(map(int, version.split("."))) < MINIMUM_SQLITE:
        wanted = ".".join(map(str, MINIMUM_SQLITE))
        advice = f"older than {wanted} it can corrupt a log: install the apsw wheel from PyPI"
        return Finding("SQLite", "fail", version, advice)
    return Finding("SQLite", "ok", version)


def _libraries() -> Finding:
    names = ("headrace", "polars", "apsw", "sqlglot", "msgspec")
    return Finding("libraries", "ok", ", ".join(f"{name} {_version(name)}" for name in names))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def compiled_code(missing: Sequence[Path]) -> Finding:
    """Judge an installation by the C files that it has no library of."""
    if not missing:
        return Finding("compiled code", "ok", "there")
    advice = (
        "results are the same, but slower to come: install a C compiler, "
        "then `pip install --force-reinstall --no-cache-dir headrace`"
    )
    return Finding("compiled code", "warn", f"no {', '.join(source.stem for source in missing)}", advice)


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("POLARS_MAX_THREADS")
    return Finding("cores", "ok", f"{cores}" + (f"; POLARS_MAX_THREADS is {threads}" if threads else ""))
