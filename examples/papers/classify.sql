-- The model is called once for each paper, in blocks; its result is a record, which the SELECT takes apart.
WITH scored AS (
    SELECT id, title, EventEnqueuedUtcTime AS enqueued, classify(doc) AS guess
    FROM work
)
SELECT id, title, enqueued, guess.best AS best, guess.second AS second
INTO guesses
FROM scored
