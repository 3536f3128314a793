"""From the numbers that a worker gives tags to those of the catalogue, tenant by tenant."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import numpy as np

from headrace.series.catalogue import Catalogue
from headrace.series.points import Codes

#: New tags are asked for so many at a time: what that takes in memory is bounded.
_TAGS_AT_ONCE: Final = 20_000

#: Of so many tags of all tenants the numbers are kept, of one tenant always.
_TAGS_KEPT: Final = 8_000_000

_UNKNOWN: Final = 0xFFFF_FFFF


class TagCodes:
    """The numbers of tags in a store's catalogue; one thread uses it at a time.

    `guids` gives the 16 bytes of the worker's tags from a number on, as `lines.Parser` does.
    """

    def __init__(self, catalogue: Catalogue, guids: Callable[[int], list[bytes]]) -> None:
        self._catalogue, self._guids = catalogue, guids
        self._known: OrderedDict[int, Codes] = OrderedDict()

    def of(self, tenant: int, codes: Codes) -> Codes:
        """Return the catalogue's numbers for points of a tenant; tags that it has never met become its."""
        if not len(codes):
            return codes
        known = self._tags_of(tenant, int(codes.max()) + 1)
        found = known.take(codes)
        if int(found.max()) == _UNKNOWN:
            self._look_up(tenant, known, np.unique(codes[found == _UNKNOWN]))
            found = known.take(codes)
        return found

    def _tags_of(self, tenant: int, tags: int) -> Codes:
        known = self._known.get(tenant)
        if known is None or len(known) < tags:
            grown = np.full(max(1_024, tags + tags // 4), _UNKNOWN, np.uint32)
            if known is not None:
                grown[: len(known)] = known
            known = self._known[tenant] = grown
            while len(self._known) > 1 and sum(map(len, self._known.values())) > _TAGS_KEPT:
                oldest = next(other for other in self._known if other != tenant)
                del self._known[oldest]
        self._known.move_to_end(tenant)
        return known

    def _look_up(self, tenant: int, known: Codes, codes: Codes) -> None:
        first = int(codes[0])
        guids = self._guids(first)
        for at in range(0, len(codes), _TAGS_AT_ONCE):
            some = codes[at : at + _TAGS_AT_ONCE]
            known[some] = self._catalogue.codes(tenant, [guids[code - first] for code in some.tolist()])
