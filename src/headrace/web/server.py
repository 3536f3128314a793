"""Serving an ASGI application from a thread, within bounds, until its user is done with it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from headrace.errors import Fatal, UserError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

#: Requests under way at once; each may hold a body in memory. More are answered with 503.
_MAX_CONCURRENT: Final = 100

_KEEP_ALIVE_S: Final = 30
_STOP_S: Final = 10


@contextlib.contextmanager
def serving(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve `app` while the block runs; gives its URL, with the port that was free if `port` is 0.

    Requests under way are finished when the block ends, for at most ten seconds. Raises `UserError` where
    nothing can listen.
    """
    try:
        import uvicorn  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("serving HTTP needs more packages: pip install 'headrace[web]'") from None
    try:
        listener = socket.create_server((host, port), family=_family(host))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot listen on {host}:{port}: {reason}. Choose another port or host") from None
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MAX_CONCURRENT,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="http server")
    try:
        thread.start()
        while not server.started:
            thread.join(0.005)
            if not thread.is_alive():
                raise Fatal("the HTTP server did not start")
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
