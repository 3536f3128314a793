"""Disks that are small, read-only or failing, below the processes of a test."""

import contextlib
import os
import shutil
import subprocess

import pytest

#: Fails what a switch says ("sync 5 -wal": an operation, an error number, what the file's name ends with),
#: and keeps a record of what the processes did to such files: "pid operation result" a line.
_FAULTY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int refused(const char *operation, int fd)
{
    char kind[16], ending[64], path[64], name[4096], line[64];
    int number, found, hit;
    FILE *control = fopen(getenv("FAULTY_SWITCH"), "r");
    if (!control)
        return 0;
    found = fscanf(control, "%15s %d %63s", kind, &number, ending);
    fclose(control);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, name, sizeof name - 1);
    if (found != 3 || length < (ssize_t)strlen(ending))
        return 0;
    name[length] = 0;
    if (strcmp(name + length - strlen(ending), ending))
        return 0;
    hit = !strcmp(kind, operation);
    length = snprintf(line, sizeof line, "%d %s %s\n", getpid(), operation, hit ? "refused" : "done");
    int record = open(getenv("FAULTY_RECORD"), O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (write(record, line, length) < 0)
        abort();
    close(record);
    errno = number;
    return hit;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    return refused("write", fd) ? -1 : REAL(pwrite64)(fd, bytes, count, offset);
}

int fdatasync(int fd)
{
    return refused("sync", fd) ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    return refused("sync", fd) ? -1 : REAL(fsync)(fd);
}
"""


class FaultyDisk:
    """A disk that fails as it is told, below the processes that are started with its `prefix`."""

    def __init__(self, folder):
        self._switch, self.record = folder / "switch", folder / "record"
        source, library = folder / "faulty.c", folder / "faulty.so"
        source.write_text(_FAULTY)
        compiler = shutil.which("gcc") or pytest.skip("there is no gcc to make a disk that fails")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.prefix = (
            "env",
            f"LD_PRELOAD={library}",
            f"FAULTY_SWITCH={self._switch}",
            f"FAULTY_RECORD={self.record}",
        )

    def fail(self, operation, number, ending):
        """From now on refuse to "write" or "sync" files whose name ends so."""
        new = self._switch.with_suffix(".new")
        new.write_text(f"{operation} {number} {ending}")
        new.rename(self._switch)

    def mend(self):
        """Refuse nothing any more."""
        self._switch.unlink()

    def done(self):
        """Return what was done, as (process, operation, refused)."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [
            (int(pid), operation, result == "refused") for pid, operation, result in map(str.split, lines)
        ]


class SmallDisk:
    """A file system in memory, mounted at a folder, whose size can be changed."""

    def __init__(self, folder):
        self.folder = folder

    def leave(self, spare_kib):
        """Make it so small that only this much is free."""
        found = os.statvfs(self.folder)
        used_kib = (found.f_blocks - found.f_bfree) * found.f_frsize // 1024
        self._remount(f"size={used_kib + spare_kib}k")

    def widen(self):
        """Make space."""
        self._remount("size=80m")

    def lock(self):
        """Make it read-only, which the system does only while no file is open for writing."""
        self._remount("ro")

    def unlock(self):
        """Make it writable again."""
        self._remount("rw")

    def _remount(self, how):
        subprocess.run(["mount", "-o", f"remount,{how}", self.folder], check=True)


@contextlib.contextmanager
def mounted(folder):
    """Mount a file system of its own at a new folder, where mounting one is permitted."""
    folder.mkdir()
    asked = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", folder], capture_output=True, check=False
    )
    if asked.returncode:
        pytest.skip("mounting a file system needs more rights than these tests have")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
