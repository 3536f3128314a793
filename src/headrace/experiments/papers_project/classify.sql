WITH scored AS (
    SELECT id, class, title, EventEnqueuedUtcTime AS enqueued, classify(doc) AS guess
    FROM work
)
SELECT id, class, title, enqueued, guess.best AS bestguess, guess.second AS secondguess
INTO scimlevents
FROM scored
