WITH kept AS (
    SELECT *,
        CASE WHEN n % 3 = 0 THEN 'third' WHEN weight > 60 THEN 'heavy' ELSE 'other' END AS kind
    FROM papers
    WHERE n % 7 <> 0
)
SELECT * INTO work FROM kept;
SELECT id, source, n, kind, checksum INTO echo FROM kept WHERE n % 2 = 0;
SELECT id, source, n, checksum, EventProcessedUtcTime INTO arrivals FROM papers
