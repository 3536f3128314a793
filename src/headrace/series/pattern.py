"""Patterns of tags: how GUIDs begin, or ``*``, ``?`` and ``[]`` as in names of files."""

from __future__ import annotations

import fnmatch
import re
from typing import Final

WILDCARD: Final = re.compile(r"[*?\[]")

#: No pattern of a GUID needs more.
_MOST_CHARS: Final = 144


def matcher(pattern: str) -> re.Pattern[str]:
    """Return what fully matches the GUIDs that a pattern means; raises ValueError for one that can mean none.

    Without a wildcard it is how the GUIDs begin.
    """
    text = pattern.lower()
    if not text or re.search(r"[^0-9a-f*?\[\]!-]", text) or len(text) > _MOST_CHARS:
        raise ValueError(
            f"{pattern[:60]!r} is neither a GUID, nor how one begins, nor a pattern such as 302fba*"
        )
    return re.compile(fnmatch.translate(text if WILDCARD.search(text) else text + "*"))
