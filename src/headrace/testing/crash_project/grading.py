"""The function that the crash tests' query calls: pure, so that the checkers can tell what it must return."""

import zlib


def grade(doc: str) -> dict[str, int]:
    """Return the checksum of a document's bytes and how many words it has."""
    return {"checksum": zlib.crc32(doc.encode()), "words": len(doc.split(" "))}
