"""What a request to publish holds, as the Event Hubs REST API has it: one event, or a batch in JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from headrace.errors import UserError
from headrace.local.hub import Event

_Value = TypeVar("_Value")

#: The content type of a batch; a body of any other type is one event, its bytes as they are.
BATCH_TYPE: Final = "application/vnd.microsoft.servicebus.json"

#: Headers that belong to HTTP, to a proxy or to this API; any other is a user property of a single event.
_NOT_PROPERTIES: Final = re.compile(
    r"accept(-.*)?|authorization|brokerproperties|cache-control|connection|content-.*|cookie|date|dnt|expect"
    r"|forwarded|from|host|if-.*|keep-alive|origin|pragma|priority|proxy-.*|range|referer|sec-.*|te|trace.*"
    r"|trailer|transfer-encoding|upgrade.*|user-agent|via|warning|x-forwarded-.*|x-headrace-.*|x-ms-.*"
    r"|x-real-ip|x-request-id"
)


class _BrokerProperties(msgspec.Struct, frozen=True):
    partition_key: str | None = msgspec.field(name="PartitionKey", default=None)


class _Message(msgspec.Struct, frozen=True):
    body: str = msgspec.field(name="Body")
    user_properties: dict[str, str | int | float | bool | None] = msgspec.field(
        name="UserProperties", default_factory=dict
    )
    broker_properties: _BrokerProperties = msgspec.field(
        name="BrokerProperties", default_factory=_BrokerProperties
    )


_batch_decoder: Final = msgspec.json.Decoder(list[_Message])
_broker_properties_decoder: Final = msgspec.json.Decoder(_BrokerProperties)


def events_in(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """Return the events of a request; `headers` have lower-case names.

    In a batch keys and properties stand beside each body, and those in headers are ignored, as Event Hubs
    does. Raises `UserError` for a malformed body or header.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == BATCH_TYPE:
        messages = _decoded(_batch_decoder, body, "the batch")
        return [_event(message) for message in messages]
    given = headers.get("brokerproperties", "{}").encode("utf-8", "replace")
    broker = _decoded(_broker_properties_decoder, given, "the BrokerProperties header")
    properties = {name: value for name, value in headers.items() if not _NOT_PROPERTIES.fullmatch(name)}
    return [Event(body, broker.partition_key, properties or None)]


def _event(message: _Message) -> Event:
    properties = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in message.user_properties.items()
    }
    return Event(message.body.encode(), message.broker_properties.partition_key, properties or None)


def _decoded(decoder: msgspec.json.Decoder[_Value], text: bytes, what: str) -> _Value:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{what} cannot be read: {error}") from None
    except RecursionError:
        raise UserError(f"{what} is nested too deeply") from None
