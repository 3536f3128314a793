"""What ``headrace.toml`` says of lossy compression, which no tag has unless it is asked for."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headrace.series.pattern import matcher

Method = Literal["deadband", "swinging-door"]

_Positive = Annotated[float, msgspec.Meta(gt=0)]


class CompressSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule: points of tags like the pattern `tags` are left out where others tell them within `error`.

    The error is in the values' unit, or `error_percent_of_span` percent of a `span`. However little changes,
    points that came no further apart than `max_gap_seconds` are not left further apart than that.
    """

    tags: str
    method: Method
    error: Annotated[float, msgspec.Meta(ge=0)] | None = None
    error_percent_of_span: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    span: _Positive | None = None
    max_gap_seconds: _Positive | None = None

    def __post_init__(self) -> None:
        matcher(self.tags)
        if (self.error is None) == (self.error_percent_of_span is None):
            raise ValueError("error: expected either `error` or `error_percent_of_span`")
        if (self.span is None) != (self.error_percent_of_span is None):
            raise ValueError("span: `error_percent_of_span` and `span` go together")

    @property
    def bound(self) -> float:
        """The largest error that a point may be told with, in the values' unit."""
        if self.error is not None:
            return self.error
        assert self.span is not None
        assert self.error_percent_of_span is not None
        return self.span * self.error_percent_of_span / 100
