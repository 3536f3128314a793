SELECT classify(a.doc).best AS best, COUNT(*) AS n, MAX(classify(b.doc).best) AS other_best
FROM src a TIMESTAMP BY t
JOIN other b ON classify(a.doc).best = b.k AND DATEDIFF(second, a, b) BETWEEN 0 AND 5 AND classify(b.doc).best <> a.k
LEFT JOIN sites ON classify(b.doc).best = sites.best
WHERE udf.risk(a.x) > 0.5
GROUP BY classify(a.doc).best, SessionWindow(minute, 1, 5) OVER (PARTITION BY udf.risk(a.x))
HAVING udf.risk(COUNT(*)) > 0.1
