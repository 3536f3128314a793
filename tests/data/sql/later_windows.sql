WITH S AS (
  SELECT k, COUNT(DISTINCT v) AS n, System.Window().Id AS win
  FROM src s PARTITION BY k INTO 4 TIMESTAMP BY DATEADD(ms, s.t, base) OVER k, j
  JOIN other o TIMESTAMP BY t ON s.k = o.k AND DATEDIFF(minute, s, o) BETWEEN 0 AND 5
  LEFT OUTER JOIN sites ON sites.k = s.k
  CROSS APPLY GetArrayElements(s.tags) AS tag
  GROUP BY k, Windows(Window('a', TumblingWindow(Duration(second, 10), Offset(second, 2)))), SessionWindow(minute, 5, 60) OVER (PARTITION BY k)
  HAVING COUNT(*) > 2
)
SELECT LAG(n, 1, 0) OVER (PARTITION BY k LIMIT DURATION(minute, 1) WHEN n > 1) AS before,
  TopOne() OVER (ORDER BY n DESC, k ASC) AS top_one
FROM S OUTER APPLY GetRecordProperties(r) p
