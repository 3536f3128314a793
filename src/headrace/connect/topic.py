"""Topics: a message sent to one is in each of its subscriptions, which are queues, within the commit.

The subscriptions of a topic are those that the settings of the project name, at its outputs and inputs. Each
is the queue ``topic.subscription``: it holds every message from when the settings name it, whether or not
anybody reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, cast

import msgspec

from headrace.connect.queue import QueueSettings
from headrace.connect.sink import Prepared, Rows, too_large
from headrace.errors import UserError
from headrace.events.formats.csv import Delimiter
from headrace.events.formats.decoders import Format
from headrace.events.formats.json import encode_rows
from headrace.limits import MAX_DELIVERIES, MAX_VISIBILITY_TIMEOUT_S
from headrace.local.namespace import Namespace, Transaction
from headrace.local.queue import Queue
from headrace.names import checked_name

#: What a filter compares a field with.
Scalar = str | int | float | bool


class TopicOutputSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="topic", tag_field="kind"
):
    """``kind = "topic"`` of an output: `topic` names it (by default the name in the settings).

    Each of `subscriptions` gets every message, beside those that inputs are.
    """

    topic: str | None = None
    subscriptions: list[str] = []

    def __post_init__(self) -> None:
        if "" in self.subscriptions or len(set(self.subscriptions)) != len(self.subscriptions):
            raise ValueError("subscriptions: expected names, each once")


class TopicInputSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="topic", tag_field="kind"
):
    """``kind = "topic"`` of an input: the `subscription` of `topic`, a queue with the settings of queues.

    It gets the messages whose fields have the values of `filter`.
    """

    topic: str | None = None
    subscription: str | None = None
    filter: dict[str, Scalar] = {}
    visibility_timeout_s: Annotated[float, msgspec.Meta(ge=1, le=MAX_VISIBILITY_TIMEOUT_S)] = 60
    max_deliveries: Annotated[int, msgspec.Meta(ge=1)] = MAX_DELIVERIES
    format: Format = "json"
    delimiter: Delimiter = ","

    def __post_init__(self) -> None:
        if not self.topic or not self.subscription:
            raise ValueError("topic and subscription are needed: the subscription is a queue of its own")

    @property
    def queue(self) -> QueueSettings:
        """The queue that the subscription is."""
        name = subscription_queue(self.topic or "", self.subscription or "")
        return QueueSettings(
            name, self.visibility_timeout_s, self.max_deliveries, self.format, self.delimiter
        )


class Subscription(msgspec.Struct, frozen=True):
    """A subscription of a topic, and the messages that it takes."""

    name: str
    filter: Mapping[str, Scalar] = {}

    def takes(self, body: bytes) -> bool:
        """Tell whether a message is one of the subscription's: JSON whose fields have the filter's values."""
        try:
            fields = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if not isinstance(fields, dict):
            return False
        folded = {name.casefold(): value for name, value in fields.items()} | fields
        return all(
            _same(folded.get(name, folded.get(name.casefold())), value) for name, value in self.filter.items()
        )


def subscription_queue(topic: str, subscription: str) -> str:
    """Return the name of the queue that a subscription is."""
    return f"{topic}.{subscription}"


def subscriptions_of(
    inputs: Iterable[object], outputs: Mapping[str, object]
) -> dict[str, list[Subscription]]:
    """Return the subscriptions that settings name, by topic; raises UserError for one with two filters."""
    found: dict[str, dict[str, Subscription]] = {}
    for read in inputs:
        if isinstance(read, TopicInputSettings):
            of_topic = found.setdefault(read.topic or "", {})
            taken = Subscription(read.subscription or "", read.filter)
            if of_topic.setdefault(taken.name, taken) != taken:
                raise UserError(
                    f"subscription {taken.name!r} of topic {read.topic!r} has two filters: it is one queue, "
                    "which its inputs share. Give it one filter, or name two subscriptions"
                )
    for key, written in outputs.items():
        if isinstance(written, TopicOutputSettings):
            of_topic = found.setdefault(written.topic or key, {})
            for name in written.subscriptions:
                of_topic.setdefault(name, Subscription(name))
    return {topic: list(of_topic.values()) for topic, of_topic in found.items()}


class Topic:
    """A topic of a namespace."""

    def __init__(self, namespace: Namespace, name: str, subscriptions: Sequence[Subscription]) -> None:
        self.name = f"topic {checked_name(name, 'topic')}"  # no queue is called so
        self._queues = [
            (Queue(namespace, subscription_queue(name, subscription.name)), subscription)
            for subscription in subscriptions
        ]

    def send(self, tx: Transaction, bodies: Sequence[bytes]) -> None:
        """Put messages into every subscription that takes them, in the caller's transaction."""
        for queue, subscription in self._queues:
            if subscription.filter:
                queue.send(tx, [body for body in bodies if subscription.takes(body)])
            else:
                queue.send(tx, bodies)


class TopicSink:
    """Sends each row as a message with a JSON body, within the commit."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic

    def prepare(self, rows: Rows) -> Prepared[object]:
        """Encode each row as JSON; one that is too large for a message fails."""
        texts = encode_rows(rows.batch)
        bodies = [text.encode() for text in texts.to_list()]
        return Prepared(bodies, len(bodies), too_large(texts))

    def write(self, tx: Transaction, prepared: Prepared[object]) -> None:
        """Send the messages."""
        self._topic.send(tx, cast("Sequence[bytes]", prepared.payload))

    def close(self) -> None:
        """Do nothing: the namespace is closed by whoever opened it."""


def _same(found: object, value: Scalar) -> bool:
    """Compare by value: 1 is 1.0, but neither is true, nor '1'."""
    return isinstance(found, bool) == isinstance(value, bool) and found == value
