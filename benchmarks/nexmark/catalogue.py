"""What each query reads and gives, for all engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_BIDS = ("bids",)
_PASSED = {"auction": "bigint", "bidder": "bigint", "price": "bigint", "dateTime": "time", "extra": "text"}
_COUNTED = {"bidder": "bigint", "bid_count": "bigint", "starttime": "time", "endtime": "time"}


@dataclass(frozen=True)
class Query:
    """The inputs of a query, and its columns with their types: bigint, float, text or time."""

    inputs: tuple[str, ...]
    columns: Mapping[str, str]


CATALOGUE: Mapping[str, Query] = {
    "q0": Query(_BIDS, _PASSED),
    "q1": Query(_BIDS, {**_PASSED, "price": "float"}),
    "q2": Query(_BIDS, {"auction": "bigint", "price": "bigint"}),
    "q5": Query(_BIDS, {"auction": "bigint", "num": "bigint"}),
    "q7": Query(_BIDS, {name: _PASSED[name] for name in ("auction", "price", "bidder", "dateTime", "extra")}),
    "q8": Query(("persons", "auctions"), {"id": "bigint", "name": "text", "starttime": "time"}),
    "q11": Query(_BIDS, _COUNTED),
    "q12": Query(_BIDS, _COUNTED),
}


def text_of(query: str) -> str:
    """Return a query in our language."""
    return (Path(__file__).with_name("queries") / f"{query}.sql").read_text(encoding="utf-8")
