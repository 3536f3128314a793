"""How jobs are, over HTTP: ``GET /metrics`` for Prometheus, ``GET /status`` as JSON."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from headrace.errors import HeadraceError, UserError
from headrace.project.status import JobStatus
from headrace.redaction import redacted
from headrace.web.metrics import exposition
from headrace.web.publish import LOCAL_HOSTS

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

#: One look at the jobs.
Look = Callable[[], Sequence[JobStatus]]


def watch_routes(look: Look) -> list[Route]:
    """Return the routes ``/metrics`` and ``/status``, each answered from a look of its own.

    A look that fails is answered with 503 and the reason. Raises `UserError` without the web extra.
    """
    try:
        from starlette import responses, routing  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("serving HTTP needs more packages: pip install 'headrace[metrics]'") from None
    turn = threading.Lock()

    def answered(answer: Callable[[Sequence[JobStatus]], tuple[bytes, str]]) -> Response:
        try:
            with turn:
                content, media_type = answer(look())
        except HeadraceError as error:
            return responses.PlainTextResponse(redacted(str(error)), 503)
        return responses.Response(content, headers={"content-type": media_type})

    # These block, so that they are no coroutines: a thread of the server's pool runs them.
    def metrics(_request: Request) -> Response:
        return answered(exposition)

    def status(_request: Request) -> Response:
        return answered(_json)

    return [routing.Route("/metrics", metrics), routing.Route("/status", status)]


def watch_app(look: Look) -> Starlette:
    """Return an ASGI application of these routes alone, for the loopback."""
    routes = watch_routes(look)
    from starlette.applications import Starlette  # noqa: PLC0415 - optional
    from starlette.middleware import Middleware, trustedhost  # noqa: PLC0415 - optional

    hosts = Middleware(trustedhost.TrustedHostMiddleware, allowed_hosts=list(LOCAL_HOSTS), www_redirect=False)
    return Starlette(routes=routes, middleware=[hosts])


def _json(found: Sequence[JobStatus]) -> tuple[bytes, str]:
    document = msgspec.json.encode({"jobs": [status.plain() for status in found]})
    return redacted(document.decode()).encode(), "application/json"
