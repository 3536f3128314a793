"""A target of webhooks that keeps idempotency keys and is not always well: a server of its own on loopback.

``python -m headrace.testing.webhook_target FOLDER --seed S`` writes its address to ``FOLDER/url`` and a JSON
line for each request to ``FOLDER/requests.jsonl``: its key, what the target did, and, where it took them, the
rows.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

URL_FILE: Final = "url"
REQUESTS_FILE: Final = "requests.jsonl"

#: What becomes of a request: it is taken; refused for now; the connection breaks before it was taken, or
#: after; it is refused for ever, which chance never does. What is too large is refused always.
_STATUS: Final = {
    "well": 200,
    "busy": 503,
    "gone": None,
    "lost": None,
    "refused": 403,
    "large": 413,
    "bad rows": 422,
}
_SHARES: Final = (0.90, 0.04, 0.03, 0.03, 0.0, 0.0, 0.0)

#: What it takes in one request; always the same, as a request that is cut has other keys than a whole one.
MAX_BYTES: Final = 16_000


def moods(seed: int) -> Callable[[], str]:
    """Return what draws moods: most requests go well."""
    chance = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    return lambda: chance.choices(list(_STATUS), _SHARES)[0]


class WebhookTarget(ThreadingHTTPServer):
    """Takes the rows of each key once, and answers 200 to a key that it has already.

    A request with a row that is `bad` is refused as a whole.
    """

    daemon_threads = True

    def __init__(
        self,
        folder: Path,
        mood: Callable[[], str] = lambda: "well",
        bad: Callable[[dict[str, Any]], bool] = lambda _: False,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mood, self.bad = mood, bad
        self.url = f"http://127.0.0.1:{self.server_port}/rows"
        self._keys: set[str] = set()
        self._log = (folder / REQUESTS_FILE).open("ab", buffering=0)
        self._turn = threading.Lock()
        (folder / URL_FILE).write_text(self.url, "ascii")

    def take(self, key: str, body: bytes) -> str:
        """Take a request as the mood has it; returns what was done."""
        with self._turn:
            mood = "large" if len(body) > MAX_BYTES else self.mood()
            if mood == "well" and any(map(self.bad, json.loads(body))):
                mood = "bad rows"
            done: dict[str, Any] = {"key": key, "mood": mood}
            if mood in {"well", "lost"} and key not in self._keys:
                self._keys.add(key)
                done["rows"] = json.loads(body)
            self._log.write(json.dumps(done).encode() + b"\n")
        return mood

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections break on purpose, and when a job is killed."""

    def server_close(self) -> None:
        """Close the log, too."""
        super().server_close()
        self._log.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebhookTarget

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        mood = self.server.take(self.headers["Idempotency-Key"], body)
        status = _STATUS[mood]
        if status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def requests(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the requests that a target noted, in order."""
    with (folder / REQUESTS_FILE).open("rb") as log:
        yield from map(json.loads, log)


def taken(folder: Path) -> list[dict[str, Any]]:
    """Return the rows that a target holds, in order."""
    return [row for request in requests(folder) for row in request.get("rows", [])]


def counted(folder: Path) -> Counter[str]:
    """Return how often a target was in each mood."""
    return Counter(request["mood"] for request in requests(folder))


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with WebhookTarget(arguments.folder, moods(arguments.seed)) as target:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            target.serve_forever()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
