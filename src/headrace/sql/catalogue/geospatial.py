"""The geospatial functions. NULL in gives NULL out."""

from __future__ import annotations

from typing import Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.signature import NUMBER, Group, Parameter, Signature, Value

#: A GeoJSON record or a WKT text.
_SHAPE: Final = frozenset({ValueType.RECORD, ValueType.TEXT})
_POINT: Final = Parameter("point", _SHAPE)


def _geospatial(
    name: str,
    parameters: tuple[Parameter, ...],
    result: ValueType,
    doc: str,
    example: tuple[str, Value],
    *,
    variadic: bool = False,
) -> Signature:
    return Signature(name, Group.GEOSPATIAL, parameters, result, doc, example, variadic=variadic)


def _asked(name: str, parameters: tuple[str, str], doc: str, example: str, value: Value) -> Signature:
    result = ValueType.FLOAT if isinstance(value, float) else ValueType.BIGINT
    shapes = tuple(Parameter(parameter, _SHAPE) for parameter in parameters)
    return _geospatial(name, shapes, result, doc, (f"{name}({example})", value))


SIGNATURES: Final = (
    _geospatial(
        "CreateLineString",
        (_POINT, _POINT),
        ValueType.RECORD,
        "Returns the line through two or more points, as GeoJSON.",
        (
            "CreateLineString(CreatePoint(1, 2), 'POINT(4 3)')",
            {"type": "LineString", "coordinates": [[2.0, 1.0], [4.0, 3.0]]},
        ),
        variadic=True,
    ),
    _geospatial(
        "CreatePoint",
        (Parameter("latitude", NUMBER), Parameter("longitude", NUMBER)),
        ValueType.RECORD,
        "Returns the point at a latitude and a longitude in degrees, as GeoJSON.",
        ("CreatePoint(52.5, 13.25)", {"type": "Point", "coordinates": [13.25, 52.5]}),
    ),
    _geospatial(
        "CreatePolygon",
        (_POINT, _POINT, _POINT, _POINT),
        ValueType.RECORD,
        "Returns the polygon around points given counter-clockwise, the last the same as the first, as "
        "GeoJSON; clockwise points make the rest of the globe.",
        (
            "CreatePolygon('POINT(0 0)', 'POINT(4 0)', 'POINT(4 4)', 'POINT(0 0)')",
            {"type": "Polygon", "coordinates": [[[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 0.0]]]},
        ),
        variadic=True,
    ),
    _asked(
        "ST_DISTANCE",
        ("from", "to"),
        "Returns the metres between two points on the ellipsoid WGS 84; 0 where one of both is a polygon.",
        "CreatePoint(0, 0), CreatePoint(0, 90)",
        10_018_754.171394622,
    ),
    _asked(
        "ST_INTERSECTS",
        ("line", "other"),
        "Returns 1 where two lines (or other shapes) meet, else 0.",
        "'LINESTRING(-1 0, 1 0)', 'LINESTRING(0 1, 0 -1)'",
        1,
    ),
    _asked(
        "ST_OVERLAPS",
        ("polygon", "other"),
        "Returns 1 where two polygons share a part of their areas and neither lies within the other, else 0.",
        "'POLYGON((0 0, 4 0, 4 4, 0 0))', 'POLYGON((2 0, 6 0, 6 4, 2 0))'",
        1,
    ),
    _asked(
        "ST_WITHIN",
        ("shape", "polygon"),
        "Returns 1 where a shape lies within a polygon, else 0; a point on the edge does not.",
        "CreatePoint(1, 2), 'POLYGON((0 0, 4 0, 4 4, 0 0))'",
        1,
    ),
)
