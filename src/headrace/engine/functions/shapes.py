"""Shapes on the globe, read from GeoJSON or WKT: each distinct text once, checked, those of areas kept.

Coordinates are degrees, longitude first. Predicates judge on the plane of longitude and latitude: an edge is
the straight line there between its ends, and the meridian of 180 degrees is an edge of that plane, which no
shape crosses. A polygon whose points run clockwise is the rest of the globe. Shapes are checked as they are
read, so that nothing computed with them fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.errors import UserError, did_you_mean
from headrace.limits import MAX_KEPT_SHAPES_CHARS

#: Shapes of the geometry library; None for what is NULL or cannot be read.
Shapes = NDArray[np.object_]
Mask = NDArray[np.bool_]

#: The types of GeoJSON geometries.
_TYPES: Final = (
    "Point",
    "LineString",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
    "GeometryCollection",
)

#: The library's number of the type Polygon.
_POLYGON: Final = 3

#: The dimensions of points, lines and areas.
_AREA: Final = 2

#: WKT that the library reads but computes nothing with.
_CURVES: Final = "(?i)curve|circular|surface"

#: What the library says of points that make no shape, and what we say.
_SAYINGS: Final = (
    ("do not form a closed linestring", "the first and the last point of a polygon must be the same"),
    ("must contain 0 or >1 elements", "a line has two points at least"),
)

#: Areas are prepared for many questions, which the library cannot answer in two threads at once.
LOCK: Final = threading.Lock()


def geometry_library() -> Any:
    """Return the module shapely; raises UserError when it is not installed."""
    try:
        import shapely  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("geospatial functions need shapely: pip install 'headrace[geo]'") from None
    return shapely


# --- reading ---------------------------------------------------------------------------------------------


class _Kept:
    """Areas that were read before: geofences come again with every event."""

    def __init__(self) -> None:
        self._by_text: dict[str, Any] = {}
        self._chars = 0

    def find(self, text: str) -> Any:
        """Return the shape of `text`, or None."""
        return self._by_text.get(text)

    def add(self, text: str, shape: Any) -> None:
        """Keep a shape; when there is no more room all others go."""
        if self._chars + len(text) > MAX_KEPT_SHAPES_CHARS:
            self._by_text, self._chars = {}, 0
        self._by_text[text] = shape
        self._chars += len(text)


_KEPT: Final = _Kept()


def read_shapes(texts: pl.Series) -> Shapes:
    """Return the shape of each text; None where it is NULL or makes none, see `why_no_shape`."""
    unique = texts.drop_nulls().unique()
    shapes: Shapes = np.array([*map(_KEPT.find, unique), None], object)  # the last one for NULL
    missing = np.flatnonzero(~there(shapes[:-1]))
    if len(missing):
        shapes[missing] = _read(unique.gather(missing))
        _keep_areas(unique.gather(missing), shapes[missing])
    numbers = pl.DataFrame({"text": unique, "number": pl.int_range(len(unique), eager=True)})
    found = texts.alias("text").to_frame().join(numbers, on="text", how="left", maintain_order="left")
    by_row: Shapes = shapes[found.get_column("number").fill_null(len(unique)).to_numpy()]
    return by_row


def _keep_areas(texts: pl.Series, shapes: Shapes) -> None:
    areas = dimensions(shapes) == _AREA
    with LOCK:
        geometry_library().prepare(shapes[areas])
        for text, shape in zip(texts.filter(pl.Series(areas)), shapes[areas], strict=True):
            _KEPT.add(text, shape)


def _read(texts: pl.Series) -> Shapes:
    shapes = _parsed(texts)
    good = there(shapes)
    for _, fails in _CHECKS:
        good[good] = ~fails(shapes[good])
    shapes[~good] = None
    return _rightly_turned(shapes)


def _parsed(texts: pl.Series) -> Shapes:
    """Return the shapes that `texts` describe, whatever they are worth."""
    shapely = geometry_library()
    shapes: Shapes = np.full(len(texts), None, object)
    records = texts.str.contains(r"^\s*\{")
    plain = ~records & ~texts.str.contains(_CURVES)
    for chosen, read in ((records, shapely.from_geojson), (plain, shapely.from_wkt)):
        if chosen.any():
            shapes[chosen.to_numpy()] = read(texts.filter(chosen).to_numpy(), on_invalid="ignore")
    return shapes


def _rightly_turned(shapes: Shapes) -> Shapes:
    """Return `shapes` with the rest of the globe in place of polygons that run clockwise."""
    shapely = geometry_library()
    polygons = np.flatnonzero(shapely.get_type_id(shapes) == _POLYGON)
    turned = polygons[~shapely.is_ccw(shapely.get_exterior_ring(shapes[polygons]))]
    shapes[turned] = shapely.difference(shapely.box(-180, -90, 180, 90), shapes[turned])
    return shapes


# --- checking --------------------------------------------------------------------------------------------


def there(shapes: Shapes) -> Mask:
    """Return where there is a shape."""
    found: Mask = ~geometry_library().is_missing(shapes)
    return found


def dimensions(shapes: Shapes) -> NDArray[np.intp]:
    """Return 0 for points, 1 for lines, 2 for areas, -1 where there is no shape."""
    found: NDArray[np.intp] = geometry_library().get_dimensions(shapes)
    return found


def _empty(shapes: Shapes) -> Mask:
    found: Mask = geometry_library().is_empty(shapes)
    return found


def _outside(axis: int, limit: float) -> Callable[[Shapes], Mask]:
    def outside(shapes: Shapes) -> Mask:
        bounds = geometry_library().bounds(shapes)
        found: Mask = ~((bounds[:, axis] >= -limit) & (bounds[:, axis + 2] <= limit))
        return found

    return outside


def _has_holes(shapes: Shapes) -> Mask:
    found: Mask = geometry_library().get_num_interior_rings(shapes) > 0
    return found


def _invalid(shapes: Shapes) -> Mask:
    found: Mask = ~geometry_library().is_valid(shapes)
    return found


#: What no shape may be, in the order that it is looked for; {} is what the library says of it.
_CHECKS: Final[tuple[tuple[str, Callable[[Shapes], Mask]], ...]] = (
    ("it is empty", _empty),
    ("a longitude is not in -180 to 180; it is the first number of a point", _outside(0, 180)),
    ("a latitude is not in -90 to 90; it is the second number of a point", _outside(1, 90)),
    ("a polygon has no holes", _has_holes),
    ("its points make no shape: {}", _invalid),
)


def why_no_shape(text: str) -> str:
    """Return what is wrong with a text that `read_shapes` gives None for."""
    shapely = geometry_library()
    [shape] = shapes = _parsed(pl.Series([text]))
    if shape is not None:
        problem = next(problem for problem, fails in _CHECKS if fails(shapes)[0])
        return problem.format(shapely.is_valid_reason(shape))
    if not text.lstrip().startswith("{"):
        return _why_unread(shapely.from_wkt, text, "it is no WKT of points, lines or polygons")
    try:
        type_ = msgspec.json.decode(text).get("type")
    except msgspec.DecodeError:
        return "it is no JSON"
    if type_ in _TYPES:
        return _why_unread(shapely.from_geojson, text, f"its coordinates are not those of a {type_}")
    hint = did_you_mean(str(type_), _TYPES) or f"There are {', '.join(_TYPES)}."
    return f"its property 'type' is no GeoJSON type. {hint}".removesuffix(".")


def _why_unread(read: Callable[[str], Any], text: str, otherwise: str) -> str:
    """Return why the library cannot read a text, in our words."""
    try:
        read(text)
    except Exception as error:
        return next((ours for theirs, ours in _SAYINGS if theirs in str(error)), otherwise)
    return otherwise
