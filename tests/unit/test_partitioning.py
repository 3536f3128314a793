"""How scripts are cut into tasks: which keys keep partitions apart, what is said, what is advised."""

import pytest

from headrace.sql.bind import bind
from headrace.sql.partitioning import (
    InputPartitions,
    Repartition,
    certain_cut,
    cut,
    keeps_nothing,
    repartitions,
)

WINDOW = "TumblingWindow(second, 1)"
BY_ID = "PARTITION BY PartitionId"
NEAR = "DATEDIFF(second, a, b) BETWEEN 0 AND 1"
MATCH = (
    "MATCH_RECOGNIZE (LIMIT DURATION(second, 4) {} MEASURES SUM(A.v) AS v AFTER MATCH SKIP TO NEXT ROW "
    "PATTERN (A+) DEFINE A AS A.v > 2) AS m"
)


def decided(sql, *, references=(), **inputs):
    """The cut; each input with its key, or its count and key; one without either is in 4 partitions."""
    return cut(bind(sql, references=references), known(inputs))


def known(inputs):
    return {
        name: InputPartitions(*given) if isinstance(given, tuple) else InputPartitions(4, given)
        for name, given in inputs.items()
    }


# --- what keeps partitions apart --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT COUNT(*) AS n FROM c GROUP BY k, {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c AS x GROUP BY x.K, g, {WINDOW}",
        "SELECT COUNT(*) AS n FROM c GROUP BY k, System.Timestamp()",
        f"SELECT COUNT(*) AS n FROM c {BY_ID} GROUP BY PartitionId, {WINDOW}",
        "SELECT COUNT(*) AS n FROM c GROUP BY g, SessionWindow(second, 1, 2) OVER (PARTITION BY k)",
        f"SELECT COUNT(*) AS n FROM c GROUP BY k, Windows({WINDOW}, SlidingWindow(second, 2))",
        f"WITH s AS (SELECT k AS j FROM c WHERE v > 1) SELECT COUNT(*) AS n FROM s GROUP BY j, {WINDOW}",
        f"WITH s AS (SELECT * FROM c) SELECT COUNT(*) AS n FROM s PARTITION BY g GROUP BY k, {WINDOW}",
        f"WITH s AS (SELECT *, k FROM c) SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        f"WITH s AS (SELECT k, COUNT(*) AS n FROM c GROUP BY k, {WINDOW}) "
        "SELECT SUM(n) AS n FROM s GROUP BY k, HoppingWindow(second, 4, 1)",
        "SELECT LAG(v) OVER (PARTITION BY g, k LIMIT DURATION(second, 1)) AS v FROM c",
        "SELECT ISFIRST(second, 1) OVER (PARTITION BY k) AS v FROM c",
        f"SELECT v FROM c {MATCH.format('PARTITION BY k')}",
        f"WITH s AS (SELECT k, v FROM c {MATCH.format('PARTITION BY k')}) "
        f"SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        f"SELECT a.v FROM c a JOIN c b ON a.k = b.k AND {NEAR}",
        f"SELECT a.v FROM c a LEFT JOIN c b ON a.k = b.k AND {NEAR}",
        f"WITH s AS (SELECT k FROM c UNION SELECT k FROM c) SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        "WITH s AS (SELECT * FROM c CROSS APPLY GetArrayElements(c.tags) AS e) "
        f"SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c JOIN sites ON c.site = sites.id GROUP BY c.k, sites.id, {WINDOW}",
        "SELECT v FROM c TIMESTAMP BY t OVER g",
    ],
)
def test_a_key_that_determines_the_partition_is_followed_to_where_it_is_used(sql):
    found = decided(sql, references=["sites"], c="k")
    assert found.per_partition, found.reason
    assert found.reason.startswith("runs as 4 tasks, one per partition of c")
    assert found.advice is None


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT COUNT(*) AS n FROM c GROUP BY {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c GROUP BY g, {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c GROUP BY UPPER(k), {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c GROUP BY c.k.k, {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c GROUP BY PartitionId, {WINDOW}",
        f"CREATE TABLE c (k bigint, PartitionId bigint); "
        f"SELECT COUNT(*) AS n FROM c {BY_ID} GROUP BY PartitionId, {WINDOW}",
        "SELECT COUNT(*) AS n FROM c GROUP BY k, SessionWindow(second, 1, 2)",
        f"SELECT COUNT(*) AS n FROM c GROUP BY k, Windows({WINDOW}, SessionWindow(second, 1, 2))",
        f"WITH s AS (SELECT k + '' AS k FROM c) SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        f"WITH s AS (SELECT g AS k, * FROM c) SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        f"WITH s AS (SELECT *, g AS k FROM c) SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        f"WITH s AS (SELECT payload.*, k FROM c) SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        "SELECT COUNT(*) AS n FROM c GROUP BY g, SessionWindow(second, 1, 2) OVER (PARTITION BY g)",
        "SELECT LAG(v) OVER (PARTITION BY k LIMIT DURATION(second, 1)) AS v, "
        "SUM(v) OVER (LIMIT DURATION(second, 1)) AS s FROM c",
        "SELECT ISFIRST(second, 1) AS v FROM c",
        f"SELECT v FROM c {MATCH.format('')}",
        f"WITH s AS (SELECT v AS k FROM c {MATCH.format('PARTITION BY k')}) "
        f"SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        f"SELECT a.v FROM c a JOIN c b ON {NEAR}",
        f"SELECT a.v FROM c a JOIN c b ON a.k = b.g AND {NEAR}",
        f"SELECT a.v FROM c a JOIN c b ON a.k = UPPER(b.k) AND {NEAR}",
        f"WITH s AS (SELECT b.k FROM c a LEFT JOIN c b ON a.k = b.k AND {NEAR}) "
        f"SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        f"WITH s AS (SELECT k FROM c UNION SELECT g AS k FROM c) "
        f"SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
        "WITH s AS (SELECT * FROM c JOIN sites ON c.site = sites.id) "
        f"SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}",
    ],
)
def test_what_may_bring_rows_of_two_partitions_together_runs_as_one_task(sql):
    found = decided(sql, references=["sites"], c="k")
    assert not found.per_partition, found.reason
    assert found.reason.startswith("runs as one task, because ")
    assert found.span.end > found.span.start


def test_a_joined_row_is_placed_by_the_columns_of_either_side_but_alone_by_the_left():
    sql = "WITH s AS (SELECT {}.g AS g FROM l a {} r b ON a.g = b.h AND " + NEAR + ") "
    sql += f"SELECT COUNT(*) AS n FROM s GROUP BY g, {WINDOW}"
    assert decided(sql.format("a", "LEFT JOIN"), l="g", r="h").per_partition
    assert decided(sql.replace("{}.g", "b.h").format("JOIN"), l="g", r="h").per_partition
    assert not decided(sql.replace("{}.g", "b.h").format("LEFT JOIN"), l="g", r="h").per_partition


def test_inputs_meet_only_where_they_are_partitioned_in_the_same_way():
    join = f"SELECT a.v FROM l a JOIN r b ON a.k = b.k AND {NEAR}"
    assert decided(join, l="k", r="k").per_partition
    assert not decided(join, l="k", r="j").per_partition
    by_id = f"SELECT a.v FROM l a {BY_ID} JOIN r b {BY_ID} ON a.PartitionId = b.PartitionId AND {NEAR}"
    assert decided(by_id, l=None, r="k").per_partition
    mixed = f"WITH s AS (SELECT k FROM l UNION SELECT PartitionId AS k FROM r {BY_ID}) "
    assert not decided(
        mixed + f"SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}", l="k", r=None
    ).per_partition
    united = "WITH s AS (SELECT k FROM l UNION SELECT j AS k FROM r) "
    assert decided(united + f"SELECT COUNT(*) AS n FROM s GROUP BY k, {WINDOW}", l="k", r="j").per_partition


def test_a_step_that_no_output_reads_does_not_matter():
    sql = f"WITH s AS (SELECT COUNT(*) AS n FROM c GROUP BY {WINDOW}) SELECT ISFIRST(second, 1) "
    assert decided(sql + "OVER (PARTITION BY k) AS f FROM c", c="k").per_partition


# --- what is said -----------------------------------------------------------------------------------------


def test_the_reason_names_the_clause_its_line_and_how_the_input_is_partitioned():
    found = decided(f"SELECT COUNT(*) AS n\nFROM clicks {BY_ID}\nGROUP BY page, {WINDOW}", clicks="id")
    assert found.reason == (
        "runs as one task, because GROUP BY (line 3) does not contain PartitionId or id, by which clicks is "
        "partitioned"
    )
    assert found.advice == "PARTITION BY page behind clicks would spread it"
    found = decided(f"SELECT COUNT(*) AS n FROM clicks {BY_ID} GROUP BY PartitionId, {WINDOW}", clicks=None)
    assert found.reason == "runs as 4 tasks, one per partition of clicks: GROUP BY contains PartitionId"


def test_every_clause_that_keeps_partitions_apart_is_told_once():
    sql = (
        f"WITH s AS (SELECT a.k FROM l a JOIN r b ON a.k = b.j AND {NEAR}) "
        f"SELECT k, COUNT(*) AS n INTO x FROM s GROUP BY k, {WINDOW}; "
        f"SELECT k, COUNT(*) AS n INTO y FROM s GROUP BY k, {WINDOW}"
    )
    assert decided(sql, l="k", r="j").reason == (
        "runs as 4 tasks, one per partition of l and r: JOIN is on k and j and GROUP BY contains k"
    )


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        (
            "SELECT LAG(v) OVER (LIMIT DURATION(second, 1)) AS v FROM c",
            "LAG OVER (line 1) has no PARTITION BY with k, by which c is partitioned",
        ),
        (
            f"SELECT v FROM c {MATCH.format('')}",
            "MATCH_RECOGNIZE (line 1) has no PARTITION BY with k, by which c is partitioned",
        ),
        (
            "SELECT COUNT(*) AS n FROM c GROUP BY k, SessionWindow(second, 1, 2)",
            "SessionWindow (line 1) has no OVER (PARTITION BY ...) with k, by which c is partitioned",
        ),
        (
            f"SELECT a.v FROM c a JOIN c b ON {NEAR}",
            "JOIN (line 1) is not on k, by which c is partitioned",
        ),
        (
            f"SELECT COUNT(*) AS n FROM c PARTITION BY UPPER(k) GROUP BY {WINDOW}",
            "GROUP BY (line 1) does not contain k, by which c is partitioned; PARTITION BY behind c names no "
            "plain columns and is ignored",
        ),
    ],
)
def test_each_kind_of_clause_says_what_it_lacks(sql, why):
    assert decided(sql, c="k").reason == f"runs as one task, because {why}"


def test_a_script_that_keeps_nothing_runs_per_partition_whatever_its_inputs_are():
    sql = "SELECT v INTO a FROM l; SELECT v INTO b FROM r"
    assert keeps_nothing(bind(sql))
    found = decided(sql, l=(1,), r=(7,))
    assert (found.per_partition, found.reason) == (True, "runs as a task per partition: it keeps nothing")


def test_over_one_partition_there_is_one_task_and_nothing_to_advise():
    sql = f"SELECT COUNT(*) AS n FROM c GROUP BY g, {WINDOW}"
    found = decided(sql, c=(1, "k"))
    assert (found.reason, found.advice) == ("runs as one task, because c has one partition", None)
    both = f"SELECT COUNT(*) AS n INTO x FROM l GROUP BY g, {WINDOW}; SELECT v INTO y FROM r"
    assert decided(both, l=(1,), r=(1,)).reason == "runs as one task, because every input has one partition"


def test_inputs_with_different_counts_are_read_by_one_task_even_where_they_do_not_meet():
    sql = (
        f"SELECT k, COUNT(*) AS n INTO x FROM l GROUP BY k, {WINDOW}; "
        f"SELECT k, COUNT(*) AS n INTO y FROM r GROUP BY k, {WINDOW}"
    )
    found = decided(sql, l=(4, "k"), r=(2, "k"))
    assert found.reason == (
        "runs as one task, because l has 4 partitions and r has 2 partitions, and a task reads the same "
        "partition of every input"
    )
    assert found.advice == "PARTITION BY k behind l and PARTITION BY k INTO 4 behind r would spread it"


# --- advice -----------------------------------------------------------------------------------------------


def test_the_advice_spreads_the_script_when_it_is_followed():
    sql = f"SELECT a.v FROM l a{{l}} JOIN r b{{r}} ON a.d = b.e AND {NEAR}"
    found = decided(sql.format(l="", r=""), l="d", r=(2, None))
    assert found.advice == "PARTITION BY d behind l and PARTITION BY e INTO 4 behind r would spread it"
    followed = sql.format(l=" PARTITION BY d", r=" PARTITION BY e INTO 4")
    assert decided(followed, l="d", r=(2, None)).per_partition
    assert repartitions(bind(followed), known({"l": "d", "r": (2, None)})) == {
        "l": Repartition(("d",), 4),
        "r": Repartition(("e",), 4),
    }


def test_the_advice_covers_every_output():
    sql = f"SELECT COUNT(*) AS n INTO x FROM l GROUP BY g, {WINDOW}; "
    sql += f"SELECT COUNT(*) AS n INTO y FROM r GROUP BY h, {WINDOW}"
    advice = decided(sql, l=None, r=None).advice
    assert advice == "PARTITION BY h behind r and PARTITION BY g behind l would spread it"
    assert decided(sql.replace("BY h", "BY UPPER(h)"), l=None, r=None).advice is None


def test_a_key_that_serves_every_clause_is_advised_and_one_that_serves_some_is_not():
    sql = (
        f"WITH s AS (SELECT g, k, COUNT(*) AS n FROM c GROUP BY g, k, {WINDOW}) "
        f"SELECT SUM(n) AS n FROM s GROUP BY k, {WINDOW}"
    )
    assert decided(sql, c=None).advice == "PARTITION BY k behind c would spread it"
    assert decided(sql.replace("BY k, Tumb", "BY Tumb"), c=None).advice is None


def test_partition_id_is_advised_on_the_word_of_the_author_alone():
    found = decided(f"SELECT COUNT(*) AS n FROM c GROUP BY PartitionId, {WINDOW}", c=None)
    assert found.advice == (
        "PARTITION BY PartitionId behind c would spread it, if events carry no PartitionId of their own"
    )


# --- repartitioning ---------------------------------------------------------------------------------------


def steps(sql, **inputs):
    return repartitions(bind(sql), known(inputs))


def test_partition_by_other_columns_repartitions_and_its_columns_then_determine_the_partition():
    sql = f"SELECT COUNT(*) AS n FROM c PARTITION BY G, h INTO 8 GROUP BY g, h, v, {WINDOW}"
    assert steps(sql, c="k") == {"c": Repartition(("G", "h"), 8)}
    assert decided(sql, c="k").reason == (
        "runs as 8 tasks, one per partition of c (repartitioned by G and h): GROUP BY contains g and h"
    )
    assert steps(sql.replace(" INTO 8", ""), c="k") == {"c": Repartition(("G", "h"), 4)}
    assert not decided(sql.replace("g, h, v", "g, v"), c="k").per_partition


def test_a_repartitioned_input_is_not_partitioned_by_its_key_or_number_any_more():
    sql = "WITH s AS (SELECT g, COUNT(*) AS n FROM c PARTITION BY g GROUP BY g, {0}) "
    sql += "SELECT COUNT(*) AS n INTO x FROM s GROUP BY g, {0}; "
    sql += "SELECT COUNT(*) AS n INTO y FROM c PARTITION BY g GROUP BY k, {0}"
    assert not decided(sql.format(WINDOW), c="k").per_partition


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT COUNT(*) AS n FROM c PARTITION BY k GROUP BY k, {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c PARTITION BY k INTO 4 GROUP BY k, {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c PARTITION BY k, g GROUP BY k, {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c PARTITION BY PartitionId, g GROUP BY PartitionId, {WINDOW}",
        "SELECT v FROM c PARTITION BY g",
        f"SELECT COUNT(*) AS n FROM c PARTITION BY g GROUP BY k, {WINDOW}",
        f"SELECT COUNT(*) AS n FROM c PARTITION BY UPPER(g) GROUP BY k, {WINDOW}",
    ],
)
def test_no_step_is_made_where_the_partitions_that_there_are_will_do(sql):
    assert decided(sql, c="k").per_partition
    assert steps(sql, c="k") == {}


def test_no_step_is_made_for_a_script_that_stays_one_task():
    sql = f"SELECT COUNT(*) AS n FROM c PARTITION BY g GROUP BY h, {WINDOW}"
    assert not decided(sql, c="k").per_partition
    assert steps(sql, c="k") == {}


def test_into_another_count_repartitions_by_the_own_key_too():
    sql = f"SELECT COUNT(*) AS n FROM c PARTITION BY k INTO 9 GROUP BY k, {WINDOW}"
    assert steps(sql, c="k") == {"c": Repartition(("k",), 9)}


def test_an_input_of_one_partition_is_spread_where_into_says_over_how_many():
    sql = f"SELECT COUNT(*) AS n FROM c PARTITION BY k{{}} GROUP BY k, {WINDOW}"
    assert steps(sql.format(" INTO 3"), c=(1,)) == {"c": Repartition(("k",), 3)}
    assert decided(sql.format(""), c=(1,)).reason == "runs as one task, because c has one partition"


def test_an_input_that_is_read_with_different_partition_by_is_not_repartitioned():
    sql = f"SELECT COUNT(*) AS n INTO x FROM c PARTITION BY g GROUP BY g, {WINDOW}; "
    sql += f"SELECT COUNT(*) AS n INTO y FROM c{{}} GROUP BY g, {WINDOW}"
    found = decided(sql.format(""), c="k")
    assert "c is read with different PARTITION BY, or once without" in found.reason
    assert steps(sql.format(""), c="k") == {}
    assert steps(sql.format(" PARTITION BY g INTO 3"), c="k") == {}
    assert steps(sql.format(" PARTITION BY G"), c="k") == {"c": Repartition(("g",), 4)}


def test_partition_by_behind_a_step_changes_nothing():
    sql = f"WITH s AS (SELECT * FROM c) SELECT COUNT(*) AS n FROM s PARTITION BY g GROUP BY g, {WINDOW}"
    assert not decided(sql, c="k").per_partition
    assert steps(sql, c="k") == {}


def test_joined_inputs_are_repartitioned_by_columns_that_belong_together():
    sql = f"SELECT a.v FROM l a PARTITION BY d, g JOIN r b PARTITION BY e, h ON {{}} AND {NEAR}"
    both = sql.format("a.d = b.e AND a.g = b.h")
    assert decided(both, l=None, r=None).per_partition
    assert steps(both, l=None, r=None) == {"l": Repartition(("d", "g"), 4), "r": Repartition(("e", "h"), 4)}


# --- a query alone ----------------------------------------------------------------------------------------


def test_of_a_query_without_its_inputs_only_what_holds_for_all_of_them_is_said():
    assert certain_cut(bind("SELECT v FROM c")).per_partition
    assert certain_cut(bind(f"SELECT COUNT(*) AS n FROM c GROUP BY k, {WINDOW}")) is None
    assert certain_cut(bind(f"SELECT COUNT(*) AS n FROM c PARTITION BY k GROUP BY k, {WINDOW}")) is None
    alone = certain_cut(bind(f"SELECT COUNT(*) AS n FROM c GROUP BY {WINDOW}"))
    assert (alone.per_partition, alone.advice) == (False, None)


def test_steps_that_read_the_one_above_twice_take_no_longer_the_more_there_are():
    chain = ", ".join(f"s{n} AS (SELECT k FROM s{n - 1} UNION SELECT k FROM s{n - 1})" for n in range(1, 60))
    sql = f"WITH s0 AS (SELECT k FROM c), {chain} SELECT COUNT(*) AS n FROM s59 GROUP BY k, {WINDOW}"
    assert decided(sql, c="k").per_partition
