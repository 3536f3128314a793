"""The geospatial functions: what makes shapes, and what asks about them (see `shapes` for what they are).

A shape is a GeoJSON record or a WKT text. Distances are geodesic, on the ellipsoid WGS 84, in metres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.engine.casts import BIGINT, FLOAT, RECORD, TEXT
from headrace.engine.functions.kernels import Check, plain, refuses
from headrace.engine.functions.shapes import (
    LOCK,
    Mask,
    Shapes,
    dimensions,
    geometry_library,
    read_shapes,
    there,
    why_no_shape,
)
from headrace.engine.rows import mapped
from headrace.engine.values import Fault, Kernel, Scope, Value, all_of, any_of, faults_of, null, of_type
from headrace.errors import UserError
from headrace.events.batch import DTYPES, ValueType
from headrace.sql.plan import Call

#: What asks something about two shapes, row by row.
_Question = Callable[[Shapes, Shapes], NDArray[Any]]

_AREA: Final = 2

#: Closer to a pole a degree of longitude counts as much as here, so that nothing is divided by zero.
_LEAST_SCALE: Final = 1e-6


# --- shapes from arguments -------------------------------------------------------------------------------


def _texts(call: Call, arguments: Sequence[Value]) -> tuple[list[pl.Expr], list[Fault]]:
    """Return the text of each argument, be it GeoJSON or WKT, and what is neither."""
    texts, faults = [], list(faults_of(arguments))
    for node, value in zip(call.arguments, arguments, strict=True):
        found = [plane for type_, plane in value.planes.items() if type_ in (RECORD, TEXT)]
        others = [plane for type_, plane in value.planes.items() if type_ not in (RECORD, TEXT)]
        texts.append(pl.coalesce(found) if found else null(TEXT))
        if others:
            faults.append(Fault(any_of(plane.is_not_null() for plane in others), node, _no_shape, (value,)))
    return texts, faults


def _no_shape(found: tuple[Any, ValueType]) -> str:
    return f"A shape is a GeoJSON record or a WKT text, not a value of type {found[1]}"


def _computed(
    scope: Scope,
    call: Call,
    arguments: Sequence[Value],
    type_: ValueType,
    compute: Callable[[Sequence[pl.Series]], pl.Series],
    problem: Callable[..., str],
) -> Value:
    """Return `compute` of the texts of shapes; a row for which it gives NULL fails, with `problem`."""
    texts, faults = _texts(call, arguments)
    plane = scope.once(mapped(texts, compute, DTYPES[type_]), call)
    present = [text.is_not_null() for text in texts]
    faults.append(Fault(all_of([*present, plane.is_null()]), call, problem, tuple(arguments)))
    return of_type(type_, plane, faults)


def _unreadable(*found: tuple[Any, ValueType]) -> str:
    """Return what is wrong with the first of the texts that is no shape."""
    for number, (text, _) in enumerate(found, start=1):
        if read_shapes(pl.Series([text]))[0] is None:
            return f"Argument {number} is no shape: {why_no_shape(text)}"
    return ""


# --- questions -------------------------------------------------------------------------------------------


def _asking(question: _Question, type_: ValueType) -> Kernel:
    """Return the kernel of a question about two shapes."""

    def answer(given: Sequence[pl.Series]) -> pl.Series:
        left, right = np.broadcast_arrays(*map(read_shapes, given))
        known = there(left) & there(right)
        with LOCK:
            answers = question(left[known], right[known])
        rows = pl.Series(np.flatnonzero(known))
        return pl.Series([None], dtype=DTYPES[type_]).new_from_index(0, len(known)).scatter(rows, answers)

    def kernel(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
        geometry_library()
        return _computed(scope, call, arguments, type_, answer, _unreadable)

    return kernel


def _within(left: Shapes, right: Shapes) -> Mask:
    # The other way round, since it is the area that is prepared.
    found: Mask = geometry_library().contains(right, left)
    return found


def _intersects(left: Shapes, right: Shapes) -> Mask:
    found: Mask = geometry_library().intersects(left, right)
    return found


def _overlaps(left: Shapes, right: Shapes) -> Mask:
    found: Mask = geometry_library().overlaps(left, right)
    return found


def _distance(left: Shapes, right: Shapes) -> NDArray[np.float64]:
    """Return the metres between points or lines; to and from areas it is 0 (reference, A4)."""
    metres = np.zeros(len(left))
    apart = (dimensions(left) < _AREA) & (dimensions(right) < _AREA)
    ends = _ends(left[apart], right[apart])
    metres[apart] = _geodesics().inv(*ends.reshape(-1, 4).T)[2]
    return metres


def _ends(left: Shapes, right: Shapes) -> NDArray[np.float64]:
    """Return longitude and latitude of the two nearest points of each pair."""
    shapely = geometry_library()
    ends = np.empty((len(left), 2, 2))
    points = (shapely.get_type_id(left) == 0) & (shapely.get_type_id(right) == 0)
    ends[points, 0] = shapely.get_coordinates(left[points])
    ends[points, 1] = shapely.get_coordinates(right[points])
    ends[~points] = _nearest_points(left[~points], right[~points])
    return ends


def _nearest_points(left: Shapes, right: Shapes) -> NDArray[np.float64]:
    """Return the nearest points on the plane that is true to scale at their latitude, found in two steps."""
    shapely = geometry_library()
    latitudes = shapely.bounds(left)[:, 1::2].mean(axis=1)
    for _ in range(2):
        scale = np.maximum(np.cos(np.radians(latitudes)), _LEAST_SCALE)
        lines = shapely.shortest_line(_widened(left, scale), _widened(right, scale))
        nearest: NDArray[np.float64] = shapely.get_coordinates(lines).reshape(-1, 2, 2)
        latitudes = nearest[:, :, 1].mean(axis=1)
        nearest[:, :, 0] /= scale[:, None]
    return nearest


def _widened(shapes: Shapes, scale: NDArray[np.float64]) -> Shapes:
    """Return shapes with each longitude times the scale of its shape."""
    shapely = geometry_library()
    coordinates, owners = shapely.get_coordinates(shapes, return_index=True)
    coordinates[:, 0] *= scale[owners]
    widened: Shapes = shapely.set_coordinates(shapely.force_2d(shapes), coordinates)
    return widened


def _geodesics() -> Any:
    """Return what measures on the ellipsoid WGS 84."""
    try:
        from pyproj import Geod  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("ST_DISTANCE needs pyproj: pip install 'headrace[geo]'") from None
    return Geod(ellps="WGS84")


def _st_distance(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    _geodesics()
    return _asking(_distance, FLOAT)(scope, call, arguments)


# --- what makes shapes -----------------------------------------------------------------------------------


def _position(longitude: pl.Expr, latitude: pl.Expr) -> pl.Expr:
    """Return a position as JSON text."""
    return pl.format("[{},{}]", longitude, latitude)


def _point(latitude: pl.Expr, longitude: pl.Expr) -> pl.Expr:
    position = _position(longitude, latitude)
    return pl.concat_str(pl.lit('{"type":"Point","coordinates":'), position, pl.lit("}"))


_LATITUDE: Final = Check(
    lambda latitude, _: ~latitude.is_between(-90, 90), refuses("The latitude {0} is not in -90 to 90")
)
_LONGITUDE: Final = Check(
    lambda _, longitude: ~longitude.is_between(-180, 180), refuses("The longitude {1} is not in -180 to 180")
)


def _joining(opening: str, closing: str) -> Kernel:
    """Return the kernel that makes one shape of points: their positions between `opening` and `closing`."""

    def texts(given: Sequence[pl.Series]) -> pl.Series:
        """Return the shapes as text; NULL where an argument is no point."""
        points = np.broadcast_arrays(*map(_points, given))
        axes = {f"{axis}{number}": point[:, axis] for number, point in enumerate(points) for axis in (0, 1)}
        frame = pl.DataFrame(axes, nan_to_null=True)
        positions = [_position(pl.col(f"0{number}"), pl.col(f"1{number}")) for number in range(len(points))]
        joined = pl.concat_str(pl.lit(opening), pl.concat_str(positions, separator=","), pl.lit(closing))
        return frame.select(joined).to_series()

    def make(given: Sequence[pl.Series]) -> pl.Series:
        made = texts(given)
        return made.zip_with(pl.Series(there(read_shapes(made))), made.clear(1))

    def problem(*found: tuple[Any, ValueType]) -> str:
        if unreadable := _unreadable(*found):
            return unreadable
        given = [pl.Series([text]) for text, _ in found]
        for number, text in enumerate(given, start=1):
            if np.isnan(_points(text)).any():
                return f"Argument {number} is no point"
        return f"The points make no shape: {why_no_shape(texts(given)[0])}"

    def kernel(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
        geometry_library()
        return _computed(scope, call, arguments, RECORD, make, problem)

    return kernel


def _points(texts: pl.Series) -> NDArray[np.float64]:
    """Return longitude and latitude of each text that is a point, NaN for the others."""
    shapely = geometry_library()
    shapes = read_shapes(texts)
    return np.column_stack([shapely.get_x(shapes), shapely.get_y(shapes)])


KERNELS: Final[dict[str, Kernel]] = {
    "CREATEPOINT": plain([FLOAT, FLOAT], RECORD, _point, _LATITUDE, _LONGITUDE),
    "CREATELINESTRING": _joining('{"type":"LineString","coordinates":[', "]}"),
    "CREATEPOLYGON": _joining('{"type":"Polygon","coordinates":[[', "]]}"),
    "ST_DISTANCE": _st_distance,
    "ST_INTERSECTS": _asking(_intersects, BIGINT),
    "ST_OVERLAPS": _asking(_overlaps, BIGINT),
    "ST_WITHIN": _asking(_within, BIGINT),
}
