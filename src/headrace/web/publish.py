"""Publishing to a hub over HTTP, in the manner of the Event Hubs REST API.

``POST /{hub}/messages``, ``/{hub}/publishers/{publisher}/messages`` and ``/{hub}/partitions/{id}/messages``
answer 201 once the events are synced to disk. `api-version` and `timeout` may stand in the URL and change
nothing. Beyond that API, the headers ``x-headrace-producer`` and ``x-headrace-sequence`` let a request be
sent again without storing its events twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from headrace.clock import Clock, SystemClock
from headrace.errors import Transient, UserError
from headrace.http.bodies import BodyTooLarge, BodyTooSlow, read_body
from headrace.http.keys import TokenRefused, check_token
from headrace.limits import MAX_EVENT_BYTES
from headrace.local.hub import Event, Hub
from headrace.web.messages import events_in

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

_LOGGER: Final = logging.getLogger("headrace.web")
_SYSTEM_CLOCK: Final = SystemClock()

_PATHS: Final = (
    "/{hub}/messages",
    "/{hub}/publishers/{publisher}/messages",
    "/{hub}/partitions/{id}/messages",
)
_ADVICE: Final = (
    "POST to /<hub>/messages, /<hub>/publishers/<name>/messages or /<hub>/partitions/<id>/messages"
)

#: Names that a server on the loopback answers to: a web page that rebinds its own name to it is refused.
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1", "[::1]")


class _NoSuchPlace(UserError):
    """A hub or partition that there is none of."""


def publish_app(
    folder: Path,
    keys: Mapping[str, str],
    *,
    hosts: Sequence[str] = LOCAL_HOSTS,
    max_body_bytes: int = MAX_EVENT_BYTES,
    body_timeout_s: float = 30,
    clock: Clock = _SYSTEM_CLOCK,
    routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """Return an ASGI application that publishes to the hubs in `folder`.

    `keys` maps key names to keys; a request needs a token made with one of them. `hosts` are the names that
    the Host header may give. A body larger than `max_body_bytes` is refused with 413, one that takes longer
    than `body_timeout_s` to arrive with 408. `routes` are answered beside these, without a token. Raises
    `UserError` without the web extra or without a key.
    """
    try:
        from starlette import applications, exceptions, responses, routing  # noqa: PLC0415 - optional
        from starlette.middleware import Middleware, trustedhost  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("serving HTTP needs more packages: pip install 'headrace[web]'") from None
    if not keys:
        raise UserError("serving HTTP needs a key: without one nobody could publish")
    publisher = _Publisher(folder, keys, max_body_bytes, body_timeout_s, clock)

    def respond(answer: _Answer) -> Response:
        return responses.Response(answer.body(), answer.status, answer.headers, "application/json")

    async def publish(request: Request) -> Response:
        return respond(await publisher.answer(request))

    async def elsewhere(_request: Request, error: Exception) -> Response:
        return respond(_Answer(getattr(error, "status_code", 500), "NotFound", _ADVICE))

    return applications.Starlette(
        routes=[*routes, *(routing.Route(path, publish, methods=["POST"]) for path in _PATHS)],
        middleware=[
            Middleware(trustedhost.TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
        ],
        exception_handlers={exceptions.HTTPException: elsewhere},
        lifespan=publisher.lifespan,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer to a request; without a message it has no body."""

    status: int
    code: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        if not self.message:
            return b""
        return msgspec.json.encode({"error": {"code": self.code, "message": self.message}})


class _Publisher:
    """Answers requests; holds each hub open from its first request on."""

    def __init__(
        self, folder: Path, keys: Mapping[str, str], max_body_bytes: int, body_timeout_s: float, clock: Clock
    ) -> None:
        self._folder, self._keys, self._clock = folder, keys, clock
        self._max_body_bytes, self._body_timeout_s = max_body_bytes, body_timeout_s
        self._hubs: dict[str, Hub] = {}
        self._opening = threading.Lock()

    async def answer(self, request: Request) -> _Answer:
        """Publish what the request holds and answer, whatever happens."""
        try:
            await self._publish(request)
        except TokenRefused as error:
            return _Answer(401, "Unauthorized", str(error), {"www-authenticate": "SharedAccessSignature"})
        except _NoSuchPlace as error:
            return _Answer(404, "NotFound", str(error))
        except BodyTooLarge:
            return _Answer(413, "TooLarge", f"a request may have {self._max_body_bytes:,} bytes: send less")
        except BodyTooSlow:
            return _Answer(408, "Timeout", f"the body did not arrive within {self._body_timeout_s:g} s")
        except UserError as error:
            return _Answer(400, "BadRequest", str(error))
        except Transient as error:
            return _Answer(503, "ServerBusy", str(error), {"retry-after": "1"})
        except Exception as error:  # a client gets an answer, and the log a line, whatever it was
            _LOGGER.error("publishing failed: %r", error)
            return _Answer(500, "InternalError", "the events were not stored: see the server's log")
        return _Answer(201)

    async def _publish(self, request: Request) -> None:
        place = request.path_params
        self._authorise(request)
        hub = await asyncio.to_thread(self._hub, place["hub"])
        partition = _partition(hub, place["id"]) if "id" in place else None
        body = await read_body(
            request.headers,
            request.stream(),
            max_bytes=self._max_body_bytes,
            timeout_s=self._body_timeout_s,
        )
        events = events_in(request.headers, body)
        if "publisher" in place:
            events = _of_publisher(events, place["publisher"])
        if partition is not None and any(event.key is not None for event in events):
            raise UserError("a request to a partition must not have a PartitionKey: choose one of the two")
        producer, sequence = _producer(request.headers)
        await asyncio.to_thread(
            hub.publish, events, partition=partition, producer=producer, sequence=sequence
        )

    def _authorise(self, request: Request) -> None:
        tokens = request.headers.getlist("authorization")
        if len(tokens) != 1:
            raise TokenRefused("send one Authorization header with a shared access signature")
        place = request.path_params
        path = [place["hub"]]
        if "publisher" in place:
            path += ["publishers", place["publisher"]]
        elif "id" in place:
            path += ["partitions", place["id"]]
        check_token(tokens[0], self._keys, path=path, now_s=self._clock.now_us() / 1e6)

    def _hub(self, name: str) -> Hub:
        with self._opening:
            if name not in self._hubs:
                if name not in Hub.names(self._folder):
                    raise _NoSuchPlace(f"there is no hub {name[:60]!r}")
                self._hubs[name] = Hub.open(self._folder, name, clock=self._clock)
            return self._hubs[name]

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Close the hubs when the server stops."""
        try:
            yield
        finally:
            for hub in self._hubs.values():
                hub.close()


def _partition(hub: Hub, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < hub.partitions:
        return int(text)
    raise _NoSuchPlace(f"hub {hub.name!r} has no partition {text[:20]!r}: it has 0 to {hub.partitions - 1}")


def _of_publisher(events: Sequence[Event], publisher: str) -> list[Event]:
    """Give all events the publisher as their key: a publisher's events share a partition."""
    if any(event.key not in {None, publisher} for event in events):
        raise UserError("a PartitionKey beside a publisher must be the publisher's name")
    return [replace(event, key=publisher) for event in events]


def _producer(headers: Mapping[str, str]) -> tuple[str | None, int | None]:
    producer, sequence = headers.get("x-headrace-producer"), headers.get("x-headrace-sequence")
    if sequence is None:
        return producer, None
    if not (sequence.isascii() and sequence.isdigit() and len(sequence) < 20):
        raise UserError("x-headrace-sequence must be a whole number")
    return producer, int(sequence)
