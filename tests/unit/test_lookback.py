"""How far scripts look back, relation by relation, and that no less would do for sessions."""

import pytest

from headrace.engine.query import query_in_pieces
from headrace.sql.bind import bind
from headrace.sql.lookback import lookback_us

SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
MATCH = (
    "MATCH_RECOGNIZE (LIMIT DURATION(minute, 4) MEASURES SUM(A.v) AS v AFTER MATCH SKIP TO NEXT ROW "
    "PATTERN (A+) DEFINE A AS A.v > 2) AS m"
)


@pytest.mark.parametrize(
    ("sql", "expected_us"),
    [
        ("SELECT v FROM c WHERE v > 1", 0),
        ("SELECT COUNT(*) AS n FROM c GROUP BY System.Timestamp()", 0),
        ("SELECT COUNT(*) AS n FROM c GROUP BY TumblingWindow(minute, 5)", 5 * MINUTE),
        ("SELECT COUNT(*) AS n FROM c GROUP BY TumblingWindow(minute, 5, -1)", 5 * MINUTE),
        ("SELECT COUNT(*) AS n FROM c GROUP BY HoppingWindow(minute, 5, 1)", 5 * MINUTE),
        ("SELECT COUNT(*) AS n FROM c GROUP BY HoppingWindow(minute, 1, 5)", MINUTE),
        ("SELECT COUNT(*) AS n FROM c GROUP BY SlidingWindow(hour, 1)", HOUR),
        ("SELECT COUNT(*) AS n FROM c GROUP BY SessionWindow(second, 10, 60)", 130 * SECOND),
        (
            "SELECT COUNT(*) AS n FROM c GROUP BY Windows(TumblingWindow(hour, 1), SlidingWindow(day, 1))",
            DAY,
        ),
        ("SELECT LAG(v) OVER (LIMIT DURATION(hour, 2)) AS v FROM c", 2 * HOUR),
        (
            "SELECT LAG(v) OVER (LIMIT DURATION(hour, 2)) AS v, SUM(v) OVER (LIMIT DURATION(day, 1)) AS s "
            "FROM c",
            DAY,
        ),
        ("SELECT ISFIRST(minute, 3) AS f FROM c", 3 * MINUTE),
        (f"SELECT v FROM c {MATCH}", 4 * MINUTE),
    ],
)
def test_a_relation_looks_back_by_its_own_length(sql, expected_us):
    assert lookback_us(bind(sql)) == expected_us


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected_minutes"),
    [
        ("JOIN", 0, 5, 6),  # a right row at 10:05:59 joins a left one at 10:00:00
        ("JOIN", -5, 0, 6),  # and a left row at 10:05:59 a right one at 10:00:00
        ("JOIN", -9, 3, 10),
        ("JOIN", 4, 5, 6),
        ("LEFT JOIN", 0, 5, 6),  # a left row of 10:00 comes alone at 10:05, and could have met one of 9:59:01
        ("LEFT JOIN", -3, 5, 9),
        ("LEFT JOIN", -5, -3, 6),
    ],
)
def test_a_join_looks_back_by_whole_units_to_the_earlier_row_of_a_pair(kind, low, high, expected_minutes):
    sql = f"SELECT a.v FROM l a {kind} r b ON DATEDIFF(minute, a, b) BETWEEN {low} AND {high}"
    assert lookback_us(bind(sql)) == expected_minutes * MINUTE


def test_the_tighter_of_several_bounds_counts():
    sql = "SELECT a.v FROM l a JOIN r b ON DATEDIFF(day, a, b) BETWEEN 0 AND 1 "
    sql += "AND DATEDIFF(second, a, b) BETWEEN 0 AND 9"
    assert lookback_us(bind(sql)) == 10 * SECOND


def test_a_bound_that_counts_from_the_first_of_three_streams_looks_back_past_the_second():
    sql = (
        "SELECT a.v FROM l a JOIN r b ON DATEDIFF(minute, a, b) BETWEEN 0 AND 9 "
        "JOIN s c ON DATEDIFF(minute, a, c) BETWEEN 0 AND 0"
    )
    # The pair is up to 10 minutes behind its left row, and the third up to a minute before that.
    assert lookback_us(bind(sql)) == 11 * MINUTE


def test_what_looks_back_adds_up_along_a_path_and_the_longest_path_counts():
    sql = (
        "WITH high AS (SELECT v FROM c WHERE v > 1), "
        "counts AS (SELECT COUNT(*) AS n FROM high GROUP BY TumblingWindow(minute, 5)), "
        "sums AS (SELECT n, SUM(n) OVER (LIMIT DURATION(hour, 1)) AS s FROM counts) "
        "SELECT n INTO a FROM counts; "
        "SELECT s INTO b FROM sums UNION SELECT v AS s FROM high; "
        "SELECT MAX(s) AS s INTO d FROM sums GROUP BY HoppingWindow(minute, 2, 1)"
    )
    assert lookback_us(bind(sql)) == HOUR + 7 * MINUTE


def test_each_side_of_a_join_adds_its_own_path():
    sql = (
        "WITH s AS (SELECT COUNT(*) AS n FROM l GROUP BY TumblingWindow(hour, 1)) "
        "SELECT n FROM s JOIN r ON DATEDIFF(minute, s, r) BETWEEN 0 AND 20"
    )
    assert lookback_us(bind(sql)) == HOUR + 21 * MINUTE


def test_a_step_that_no_output_reads_looks_back_for_nobody():
    sql = "WITH s AS (SELECT COUNT(*) AS n FROM c GROUP BY TumblingWindow(day, 1)) SELECT v FROM c"
    assert lookback_us(bind(sql)) == 0


def rows_since(start_s, from_s, times_s):
    events = [{"t": f"2026-03-02T00:{s // 60:02}:{s % 60:02}Z"} for s in times_s if s >= from_s]
    sql = (
        "SELECT COUNT(*) AS n, DATEDIFF(second, '2026-03-02', System.Timestamp()) AS s "
        "FROM c TIMESTAMP BY t GROUP BY SessionWindow(second, 5, 10)"
    )
    return [row for row in query_in_pieces(sql, {"c": events})["output"] if row["s"] >= start_s]


def test_a_chain_of_sessions_however_long_is_read_from_its_middle():
    chain = range(1, 300, 2)
    whole = rows_since(200, 0, chain)
    assert len(whole) > 9
    assert rows_since(200, 200 - 25, chain) == whole
    # The first check is ten seconds or more after the first event: nothing is known before it.
    assert rows_since(200, 200 - 18, chain) != whole
