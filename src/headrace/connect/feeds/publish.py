"""New papers of a feed into a hub: each version of each paper exactly once.

A process can die between any two lines, and the feed can read differently when it comes back. So a block of
events is *written down before it is published*:

1. `FeedPoller.poll` returns events, and a state that holds them as `pending` under the next `sequence`;
2. that state is saved; 3. the events are published as producer ``feed:<url>`` with that sequence;
4. the block is acknowledged, which clears `pending`, and the state is saved again.

While a block is pending the poller asks the network nothing and returns that block again: the same bytes
under the same sequence, which the hub drops if it has them. Death before 2 loses nothing, for nothing says
yet that the papers were seen. Death after it loses nothing either, since the state that has seen them holds
their events, and doubles nothing. To save only after publishing would not do: the block to repeat would be
made from another answer of the feed, and the hub would drop it by its sequence, new papers and all.

A state that is not of this hub (a file put back or deleted, a hub made anew) shows by the hub's last
sequence, which can only be that of the pending block or the one before. It is then made to agree with the
papers that are in the hub, by reading them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from headrace.connect.feeds.poll import FeedPoller, Polled
from headrace.connect.feeds.state import FeedState
from headrace.limits import MAX_BATCH_BYTES, MAX_BATCH_ROWS
from headrace.local.hub import Hub


class _Identified(msgspec.Struct):
    id: str


def publish_new(poller: FeedPoller, hub: Hub, save: Callable[[FeedState], None]) -> Polled:
    """Poll once and publish what is new; `save` makes a state durable before it returns.

    A paper's id is its partition key, so that its versions stay in order. Returns what the poll gave: an
    error of the feed is in there, for the caller to show; errors of the hub and of `save` are raised, and
    calling again goes on where it stopped.
    """
    agree(poller, hub)
    polled = poller.poll()
    if polled.outcome != "waiting":
        save(polled.state)
    if polled.events:
        hub.publish_bodies(
            polled.events,
            producer=poller.producer,
            sequence=polled.state.sequence,
            keys=[msgspec.json.decode(event, type=_Identified).id for event in polled.events],
        )
        save(poller.acknowledge())
    return polled


def agree(poller: FeedPoller, hub: Hub) -> None:
    """Make the poller's state agree with the hub where it is not of this hub; else do nothing."""
    last = hub.last_sequence(poller.producer) or 0
    expected = {poller.state.sequence, poller.state.sequence - bool(poller.state.pending)}
    if last not in expected:
        poller.catch_up(_bodies(hub), last)


def _bodies(hub: Hub) -> Iterator[bytes]:
    ends = hub.ends()
    for partition, offset in enumerate(hub.begins()):
        while offset < ends[partition]:
            found = hub.read(partition, offset, max_events=MAX_BATCH_ROWS, max_bytes=MAX_BATCH_BYTES)
            yield from found.bodies
            offset = found.next_offset  # noqa: PLW2901 - on through the partition
