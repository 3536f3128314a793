SELECT s.k, COUNT(o) AS n, MAX(o.v) AS highest
FROM src s TIMESTAMP BY s.t OVER k
JOIN other o TIMESTAMP BY t OVER k ON s.k = o.k AND DATEDIFF(minute, s, o) BETWEEN -5 AND 5 AND s.v > o.v
LEFT OUTER JOIN sites ON sites.k = s.k AND sites.low < s.v
OUTER APPLY GetRecordProperties(s.r) AS p
WHERE p.PropertyName = 'x' AND LAG(s.v) OVER (LIMIT DURATION(minute, 1)) < s.v
  AND LAG(s.v + o.v) OVER (LIMIT DURATION(minute, 1)) < 3
GROUP BY s.k, TumblingWindow(minute, 1)
SELECT a.*, b.k AS bk, GetMetadataPropertyValue(a, '[User].[trace id]') AS trace, DATEDIFF(second, a, b) AS gap, ArrayValue
FROM (src a TIMESTAMP BY a.t OVER k JOIN src b TIMESTAMP BY t OVER k
  ON DATEDIFF(second, b, a) <= 4 AND 0 < DATEDIFF(hour, b, a) AND b.k = a.k)
CROSS APPLY GetArrayElements(a.items) AS item
