CREATE TABLE src (k nvarchar(max), v bigint, t bigint, base datetime, score float)
WITH S AS (
  SELECT K AS k, COUNT(DISTINCT v) AS n, System.Window().Id AS win, uda.spread(v, src) AS sp,
    AVG(classify(score).best) AS best, LEFT(k, 1) + MAX(CAST(v AS nvarchar(max))) AS label
  FROM src PARTITION BY k INTO 4 TIMESTAMP BY DATEADD(ms, t, base)
  WHERE v > 1
  GROUP BY k, LEFT(k, 1), Windows(Window('a', TumblingWindow(Duration(second, 10), Offset(second, -2))),
    Window('b', Session(Timeout(minute, 5), MaxDuration(hour, 1)) OVER (PARTITION BY k)),
    Window('c', HoppingWindow(minute, 10, 5)), Window('d', Sliding(ms, 3)), Window('e', System.Timestamp()))
  HAVING COUNT(*) > 2 AND label <> 'x'
)
SELECT LAG(n, 1, 0) OVER (PARTITION BY k LIMIT DURATION(minute, 1) WHEN n > 1) AS before,
  COUNT(*) OVER (LIMIT DURATION(hour, 1)) AS many, ISFIRST(minute, 5) AS first, LAST(*) OVER (LIMIT DURATION(day, 1)),
  CollectTop(2, n) OVER (PARTITION BY win ORDER BY n DESC LIMIT DURATION(day, 7)) AS top_two, System.Timestamp() AS at
INTO alerts PARTITION BY many INTO 2
FROM S
WHERE LAG(n, 1, 0) OVER (PARTITION BY k LIMIT DURATION(minute, 1) WHEN n > 1) > 3
SELECT TopOne() OVER (ORDER BY n DESC, k) AS best, PERCENTILE_DISC(0.9) OVER (ORDER BY n) AS p90, COLLECT(n) AS all_n
FROM S GROUP BY System.Timestamp(), TumblingWindow(day, 1)
