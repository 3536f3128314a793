WITH graded AS (
    SELECT *, grade(doc) AS grade
    FROM work
)
SELECT id, source, n, kind, big, weight, note, doc, detail, checksum,
    grade.checksum AS found, grade.words AS words, EventEnqueuedUtcTime
INTO results
FROM graded
