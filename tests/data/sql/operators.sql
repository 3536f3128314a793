SELECT
  a + 2 * -b & ~c | 4 ^ d % 5 AS bits,
  CASE kind WHEN 'a' THEN 1 WHEN 'b' THEN 2.5 END AS simple,
  CASE WHEN a !< 5 AND b !> .5 OR NOT c <> 3 THEN 'x' + [odd name].[p q] ELSE NULL END AS searched,
  alias = TRY_CAST(r.p.q AS float),
  CAST(a AS nvarchar(max)),
  DATEADD(hh, -9, "when"),
  record.*,
  *
INTO [my output]
FROM [my-input] AS src /* a comment */ TIMESTAMP BY src.t.at
WHERE a BETWEEN 1 AND 2 + 3
  AND name NOT LIKE '%it''s%'
  AND (kind IN ('a', N'b', NULL) OR r.p IS NOT NULL);
