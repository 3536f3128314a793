"""Sensor files as the paper has them, made by the generator of ``headrace tags generate``."""

from __future__ import annotations

from pathlib import Path

from headrace.series.generate import Generator, write_dataset


def generate(folder: Path, tags: int, megabytes: float, tenant: str = "acme") -> int:
    """Fill a tenant's folder with files of 1 to 4 MB; returns how many points they hold."""
    written = write_dataset(Generator(tags, name=tenant), folder, tenant, size_bytes=int(megabytes * 1e6))
    return sum(file.points for file in written)
