"""A PostgreSQL server for tests: found where Debian puts it, in a folder and on a port of its own.

The server refuses to run as root; as root it therefore runs as another user. It syncs, so that its being
killed tells something. ``apt-get install postgresql`` brings it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

_PLACES: Final = "/usr/lib/postgresql"
_TIMEOUT_S: Final = 60.0
_USER: Final = "headrace"

_OPTIONS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "50",
    "shared_buffers": "32MB",
    "restart_after_crash": "off",
}


class NoServerError(Exception):
    """PostgreSQL is not installed here."""


def server_binaries() -> Path:
    """Return the folder of the newest server that is installed; raises `NoServerError` if there is none."""
    found = sorted(Path(_PLACES).glob("*/bin/postgres"), key=lambda file: float(file.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("postgres")
    if elsewhere is not None and (Path(elsewhere).resolve().parent / "initdb").exists():
        return Path(elsewhere).resolve().parent
    raise NoServerError(
        f"PostgreSQL is not installed (nothing in {_PLACES}/*/bin): `apt-get install postgresql` brings it"
    )


class PostgresqlServer:
    """A server that can be stopped, killed and started again; `url` ends without a database."""

    def __init__(self) -> None:
        self._binaries = server_binaries()
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-postgresql-"))
        self._data = self.folder / "data"
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        words = ["-D", str(self._data), "-U", _USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self._call([str(self._binaries / "initdb"), *words])
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self.url = f"postgresql://{_USER}@127.0.0.1:{self.port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = [word for name, value in _OPTIONS.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_user())
        deadline = time.monotonic() + _TIMEOUT_S
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server in order, with all sessions."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server with SIGKILL, and every process of it: nothing is flushed, and it must recover."""
        assert self._process is not None
        for child in _children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):  # a session may have ended by itself meanwhile
                os.kill(child, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=_TIMEOUT_S)
            self._process = None

    def _call(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_user())
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr}")

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": [], "cwd": "/"}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)


def fresh_database(server: PostgresqlServer) -> str:
    """Make a database of a new name and return its address."""
    import psycopg  # noqa: PLC0415 - optional

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server.url + "postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.url + name


def _children(pid: int) -> list[int]:
    """Return the processes that a process has started and that are there still."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def session_server(skip: Callable[[str], Any]) -> PostgresqlServer:
    """Return a server, or `skip` with the reason why there can be none."""
    try:
        return PostgresqlServer()
    except NoServerError as error:
        skip(str(error))
        raise
