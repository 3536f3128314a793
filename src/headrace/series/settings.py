"""What ``headrace.toml`` says of datasets."""

from __future__ import annotations

from typing import Annotated

import msgspec

from headrace.errors import UserError
from headrace.limits import MAX_DELIVERIES, MAX_VISIBILITY_TIMEOUT_S
from headrace.names import checked_name


class DatasetSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="dataset", tag_field="kind"
):
    """``kind = "dataset"``: `stores` are folders, or URLs of object stores, with a folder for each tenant.

    The work queue `queue` (by default the name in the settings) names the files that are to be read; a job
    leases `batch` of them at a time, for `visibility_timeout_s` seconds; one that was handed out
    `max_deliveries` times is set aside, and so is a file with more than `max_bad_share` of bad lines.
    """

    stores: dict[str, str] = {}
    queue: str | None = None
    batch: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 10
    visibility_timeout_s: Annotated[float, msgspec.Meta(ge=1, le=MAX_VISIBILITY_TIMEOUT_S)] = 60
    max_deliveries: Annotated[int, msgspec.Meta(ge=1)] = MAX_DELIVERIES
    max_bad_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5

    def __post_init__(self) -> None:
        if not self.stores:
            raise ValueError('stores: expected at least one, such as { main = "in" }')
        for name, place in self.stores.items():
            try:
                checked_name(name, "store")
            except UserError as error:
                raise ValueError(f"stores: {error}") from None
            if not place:
                raise ValueError(f"stores.{name}: expected a folder or a URL such as s3://bucket/readings")
