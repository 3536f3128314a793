-- A row for each paper, with the most likely field and the next one. The function `classify` is a model,
-- called once a paper; what it returns is a record: best, second, and a score for each field.
WITH scored AS (
    SELECT id, title, classify(doc) AS guess
    FROM papers
)
SELECT id, title, guess.best AS best, guess.second AS second
INTO guesses
FROM scored
