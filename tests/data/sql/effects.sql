SELECT id, udf.risk(amount, hour).label AS label, risk(amount, hour).score AS score
FROM tx
WHERE udf.risk(amount, hour).score > 0.5 AND country <> 'x' AND amount IS NOT NULL
UNION ALL
SELECT ID, CASE WHEN checked = 1 THEN 'ok' ELSE classify(COALESCE(note, classify(memo).best)) END AS Label, 1.0 AS score
FROM other
