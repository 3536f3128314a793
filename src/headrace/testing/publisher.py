"""The publisher of the crash tests, a process of its own: ``python -m headrace.testing.publisher ...``.

It publishes a source's numbered events in blocks, each block's number as the sequence of the producer.
Started again, it goes on behind the last block that the hub has.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from headrace.clock import Clock, SystemClock
from headrace.local.hub import Hub
from headrace.testing.numbered import NumberedEvent, NumberedStream

_LOOK_S: Final = 0.005


def publish(hub: Hub, stream: NumberedStream, share_file: Path, clock: Clock) -> None:
    """Publish all events, never further than the share of them that the file allows at the time."""
    parent = os.getppid()
    blocks = stream.blocks()
    for number in range(hub.last_sequence(stream.source) or 0, len(blocks)):
        block = blocks[number]
        while block.stop > read_share(share_file) * stream.count:
            if os.getppid() != parent:  # the crash test itself is gone
                return
            clock.sleep(_LOOK_S)
        bodies = [NumberedEvent(stream.source, n).body for n in block]
        hub.publish_bodies(bodies, producer=stream.source, sequence=number + 1)


def read_share(share_file: Path) -> float:
    """Return the share of the events that may be published now, 0 to 1."""
    return float(share_file.read_text("ascii"))


def write_share(share_file: Path, share: float) -> None:
    """Allow a share of the events to be published."""
    new = share_file.with_suffix(".new")
    new.write_text(repr(share), "ascii")
    new.replace(share_file)


def main() -> None:
    """Publish until all is published."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the hubs")
    parser.add_argument("hub")
    parser.add_argument("source")
    parser.add_argument("events", type=int)
    parser.add_argument("share_file", type=Path)
    arguments = parser.parse_args()
    with Hub.ensure(arguments.folder, arguments.hub) as hub:
        stream = NumberedStream(arguments.source, arguments.events)
        publish(hub, stream, arguments.share_file, SystemClock())


if __name__ == "__main__":
    main()
