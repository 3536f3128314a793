"""Shapes from GeoJSON and WKT: distances on the ellipsoid, predicates on the plane, and clear refusals."""

import json
import sys

import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from headrace.engine.expressions import RowError, evaluate
from headrace.engine.functions.shapes import read_shapes
from headrace.errors import UserError
from headrace.events.formats.json import from_rows
from headrace.sql.bind import bind
from tests.unit.evaluating import value

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]}
TURNED = {"type": "Polygon", "coordinates": [[[0, 0], [0, 4], [4, 4], [4, 0], [0, 0]]]}


def point(longitude, latitude):
    return {"type": "Point", "coordinates": [longitude, latitude]}


def fails(expression, **fields):
    with pytest.raises(RowError) as caught:
        value(expression, **fields)
    return str(caught.value)


def column(expression, rows):
    script = bind(f"SELECT {expression} AS x FROM src")
    [planes] = evaluate([script.outputs[0].relation.items[0].expression], from_rows(rows), script.text)
    return next(iter(planes.values())).to_list() if planes else [None] * len(rows)


# --- making ------------------------------------------------------------------------------------------------


def test_a_point_takes_the_latitude_first_and_holds_the_longitude_first():
    assert value("CreatePoint(lat, lon)", lat=3.0, lon=-10.2) == point(-10.2, 3.0)
    assert value("CreatePoint(lat, lon)", lat="3", lon=-10) == point(-10.0, 3.0)
    assert value("CreatePoint(lat, 0.1 + 0.2)", lat=1e-7) == point(0.1 + 0.2, 1e-7)


@pytest.mark.parametrize(
    ("lat", "lon", "wrong"), [(90.1, 0, "latitude 90.1"), (0, -180.5, "longitude -180.5")]
)
def test_a_point_off_the_globe_is_refused(lat, lon, wrong):
    assert wrong in fails("CreatePoint(lat, lon)", lat=lat, lon=lon)


def test_lines_and_polygons_join_points_in_order():
    expression = "CreateLineString(p, CreatePoint(10.0, 10.0), 'POINT(10.5 10.25)')"
    assert value(expression, p=point(-10.2, 3)) == {
        "type": "LineString",
        "coordinates": [[-10.2, 3.0], [10.0, 10.0], [10.5, 10.25]],
    }
    assert value("CreatePolygon(p, CreatePoint(10, 10), CreatePoint(10.5, 10), p)", p=point(-10.2, 3)) == {
        "type": "Polygon",
        "coordinates": [[[-10.2, 3.0], [10.0, 10.0], [10.0, 10.5], [-10.2, 3.0]]],
    }


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("CreatePolygon(a, b, c, c)", "the first and the last point of a polygon must be the same"),
        ("CreatePolygon(a, a, a, a)", "make no shape"),
        ("CreatePolygon(a, b, d, c, a)", "Self-intersection"),
        ("CreateLineString(a, a)", "make no shape"),
        ("CreateLineString(a, 'LINESTRING(0 0, 1 1)')", "Argument 2 is no point"),
        ("CreateLineString(a, 'x')", "Argument 2 is no shape: it is no WKT"),
        ("CreateLineString(a, 5)", "not a value of type bigint"),
    ],
)
def test_points_that_make_no_shape_are_refused_with_the_reason(expression, wrong):
    corners = {"a": point(0, 0), "b": point(1, 0), "c": point(1, 1), "d": point(0, 1)}
    assert wrong in fails(expression, **corners)


# --- distance ----------------------------------------------------------------------------------------------


def test_distance_is_geodesic_in_metres():
    assert value("ST_DISTANCE(a, b)", a=point(-5.0, -5.0), b=point(0.0, 0.0)) == pytest.approx(
        784028.74, abs=0.01
    )
    assert value("ST_DISTANCE('POINT(179 0)', 'POINT(-179 0)')") == pytest.approx(222_638.98, abs=0.01)
    assert value("ST_DISTANCE(a, a)", a=point(7, 8)) == 0.0


def test_distance_from_and_to_a_polygon_is_0():
    assert value("ST_DISTANCE(a, b)", a=point(50, 50), b=SQUARE) == 0.0
    assert value("ST_DISTANCE(b, b)", b=SQUARE) == 0.0


def test_distance_to_a_line_is_that_to_its_nearest_point():
    line = {"type": "LineString", "coordinates": [[-1, 60], [1, 60]]}
    to_point = value("ST_DISTANCE(a, b)", a=point(0.3, 60.5), b=point(0.3, 60))
    assert value("ST_DISTANCE(a, b)", a=point(0.3, 60.5), b=line) == pytest.approx(to_point, rel=1e-6)
    assert value("ST_DISTANCE(b, a)", a=point(0.3, 60.5), b=line) == pytest.approx(to_point, rel=1e-6)
    assert value("ST_DISTANCE(b, 'LINESTRING(0 59, 0 61)')", b=line) == 0.0


@pytest.mark.parametrize("end", [(10, 60), (-3, 85), (40, 10), (9, -89)])
def test_distance_to_a_long_line_is_close_to_the_least_of_many_points_on_it(end):
    steps = np.linspace(0, 1, 20_001)
    along = Geod(ellps="WGS84").inv(steps * end[0], steps * end[1], *np.full((2, len(steps)), [[9], [60]]))[2]
    found = value(f"ST_DISTANCE('POINT(9 60)', 'LINESTRING(0 0, {end[0]} {end[1]})')")
    assert found == pytest.approx(along.min(), rel=0.02)


# --- questions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("longitude", "latitude", "inside"), [(1, 1, 1), (5, 1, 0), (4, 2, 0), (0, 0, 0), (3.999, 0.001, 1)]
)
def test_a_point_is_within_a_polygon_but_not_on_its_edge(longitude, latitude, inside):
    assert value("ST_WITHIN(p, a)", p=point(longitude, latitude), a=SQUARE) == inside


def test_a_polygon_is_within_another_and_within_itself():
    small = "POLYGON((1 1, 2 1, 2 2, 1 2, 1 1))"
    assert value(f"ST_WITHIN('{small}', a)", a=SQUARE) == 1
    assert value(f"ST_WITHIN(a, '{small}')", a=SQUARE) == 0
    assert value("ST_WITHIN(a, a)", a=SQUARE) == 1


def test_a_polygon_that_runs_clockwise_is_the_rest_of_the_globe():
    assert value("ST_WITHIN(p, a)", p=point(1, 1), a=TURNED) == 0
    assert value("ST_WITHIN(p, a)", p=point(-170, 80), a=TURNED) == 1
    assert value("ST_OVERLAPS(a, b)", a=SQUARE, b=TURNED) == 0


def test_overlaps_needs_a_common_area_and_neither_within_the_other():
    assert value("ST_OVERLAPS(a, 'POLYGON((2 2, 6 2, 6 6, 2 6, 2 2))')", a=SQUARE) == 1
    assert value("ST_OVERLAPS(a, 'POLYGON((1 1, 2 1, 2 2, 1 2, 1 1))')", a=SQUARE) == 0
    assert value("ST_OVERLAPS(a, 'POLYGON((4 0, 8 0, 8 4, 4 4, 4 0))')", a=SQUARE) == 0
    assert value("ST_OVERLAPS(a, a)", a=SQUARE) == 0


def test_intersects_is_true_of_lines_that_cross_or_touch():
    assert value("ST_INTERSECTS('LINESTRING(-1 0, 1 0)', 'LINESTRING(0 1, 0 -1)')") == 1
    assert value("ST_INTERSECTS('LINESTRING(-1 0, 1 0)', 'LINESTRING(1 0, 1 5)')") == 1
    assert value("ST_INTERSECTS('LINESTRING(-1 0, 1 0)', 'LINESTRING(-1 2, 1 2)')") == 0
    assert value("ST_INTERSECTS(a, 'LINESTRING(-1 2, 1 2)')", a=SQUARE) == 1


@pytest.mark.parametrize(
    "wkt",
    [
        "MULTIPOINT((1 1), (2 2))",
        "MULTILINESTRING((1 1, 2 2), (1 2, 2 1))",
        "MULTIPOLYGON(((1 1, 2 1, 2 2, 1 1)), ((3 3, 3.5 3, 3.5 3.5, 3 3)))",
        "GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(1 1, 2 2))",
        " point z (1 1 5)",
    ],
)
def test_every_kind_of_shape_can_be_asked_about(wkt):
    assert value(f"ST_WITHIN('{wkt}', a)", a=SQUARE) == 1
    assert value(f"ST_INTERSECTS(a, '{wkt}')", a=SQUARE) == 1
    assert value(f"ST_OVERLAPS(a, '{wkt}')", a=SQUARE) == 0
    assert value(f"ST_DISTANCE('{wkt}', 'POINT(0 0)')") >= 0


def test_a_record_and_its_text_are_the_same_shape():
    assert (
        value("ST_WITHIN(JSON_PARSE(p), CAST(a AS nvarchar(max)))", p=json.dumps(point(1, 1)), a=SQUARE) == 1
    )


FUNCTIONS = ("ST_WITHIN", "ST_OVERLAPS", "ST_INTERSECTS", "ST_DISTANCE", "CreateLineString")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_null_in_gives_null_out(function):
    assert value(f"{function}(a, NULL)", a=point(1, 1)) is None
    assert value(f"{function}(nosuch, a)", a=SQUARE) is None
    assert value(f"{function}(NULL, NULL)") is None


def test_null_in_a_point_gives_null():
    assert value("CreatePoint(NULL, 1)") is None
    assert value("CreatePolygon(a, a, NULL, a)", a=point(0, 0)) is None


REFUSED = [
    ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}, "the first and the last point"),
    ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}, "Self-intersection"),
    (
        {"type": "Polygon", "coordinates": [[0, 0], [1, 1], [1, 0], [0, 0]]},
        "coordinates are not those of a Polygon",
    ),
    ({"type": "LineString", "coordinates": [[0, 0]]}, "a line has two points at least"),
    ({"type": "Point", "coordinates": []}, "it is empty"),
    ({"type": "Point", "coordinates": ["1", 2]}, "coordinates are not those of a Point"),
    ({"type": "Point", "coordinates": [1, 91]}, "a latitude is not in -90 to 90"),
    ({"type": "Point", "coordinates": [181, 1]}, "a longitude is not in -180 to 180"),
    ({"type": "Pont", "coordinates": [1, 2]}, "Did you mean 'Point'?"),
    ({"lat": 1, "lon": 2}, "'type' is no GeoJSON type"),
    ("POLYGON((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 1 2, 2 2, 1 1))", "a polygon has no holes"),
    ("POINT(1)", "it is no WKT"),
    ("CIRCULARSTRING(0 0, 1 1, 2 0)", "it is no WKT"),
    ("POINT(nan 1)", "a longitude"),
    ("{oops", "it is no JSON"),
    ("", "it is no WKT"),
]


@pytest.mark.parametrize(("shape", "wrong"), REFUSED)
@pytest.mark.parametrize("function", FUNCTIONS[:-1])
def test_what_is_no_shape_stops_the_job_with_the_reason(function, shape, wrong):
    message = fails(f"{function}(CreatePoint(1, 2), x)", x=shape)
    assert wrong in message
    assert "Argument 2" in message
    assert f"{function}(CreatePoint(1, 2), x)' at line 1, column 8" in message


@pytest.mark.parametrize("other", [5, 1.5, True, [1, 2]])
def test_a_value_of_another_type_stops_the_job(other):
    assert "A shape is a GeoJSON record or a WKT text, not a value of type" in fails(
        "ST_WITHIN(x, a)", x=other, a=SQUARE
    )


def test_the_row_that_fails_is_named_among_good_ones():
    with pytest.raises(RowError) as caught:
        column(
            "ST_DISTANCE(p, 'POINT(0 0)')",
            [{"p": point(1, 1)}, {"p": None}, {"p": "oops"}, {"p": "POINT(2 2)"}],
        )
    assert caught.value.row == 2


def test_a_branch_that_is_not_taken_cannot_fail():
    rows = [{"p": "oops"}, {"p": "POINT(1 1)"}]
    expression = "CASE WHEN p = 'oops' THEN -1 ELSE ST_WITHIN(p, 'POLYGON((0 0, 4 0, 4 4, 0 0))') END"
    assert column(expression, rows) == [-1, 0]


@pytest.mark.parametrize(("function", "library"), [("ST_WITHIN", "shapely"), ("ST_DISTANCE", "pyproj")])
def test_without_the_libraries_it_says_what_to_install(monkeypatch, function, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=rf"{library}: pip install 'headrace\[geo\]'"):
        value(f"{function}(x, x)", x=point(1, 2))


# --- many rows ---------------------------------------------------------------------------------------------

CORNERS = st.tuples(st.integers(-6, 6), st.integers(-6, 6))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CORNERS, st.none() | CORNERS, st.integers(1, 5)), min_size=1, max_size=30))
def test_many_rows_are_as_each_alone(rows):
    """The oracle compares coordinates: a point in an upright box, strictly inside."""
    events, expected = [], []
    for (x, y), at, size in rows:
        ring = [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]
        events.append({"a": {"type": "Polygon", "coordinates": [ring]}, "p": at and point(*at)})
        expected.append(None if at is None else int(x < at[0] < x + size and y < at[1] < y + size))
    assert column("ST_WITHIN(p, a)", events) == expected


def test_areas_that_are_kept_give_the_same_shapes_and_are_bounded(monkeypatch):
    monkeypatch.setattr("headrace.engine.functions.shapes.MAX_KEPT_SHAPES_CHARS", 100)
    texts = pl.Series(
        [f"POLYGON((0 0, {n} 0, {n} {n}, 0 0))" for n in range(1, 9)] * 3 + ["POINT(1 1)", None]
    )
    first, again = read_shapes(texts), read_shapes(texts)
    assert first[-1] is again[-1] is None
    assert shapely.equals(first[:-1], again[:-1]).all()
    assert np.allclose(shapely.area(first[:8]), [n * n / 2 for n in range(1, 9)])
