-- What the first demonstration does: papers of one class, with a second guess.
WITH Scored AS (
  SELECT id, title, class, classify(abstract) AS guess
  FROM papers TIMESTAMP BY published
  WHERE abstract IS NOT NULL AND LEN(abstract) > 20
)
SELECT id, title, guess.best AS best, guess.second AS second, System.Timestamp() AS at
INTO scimlevents
FROM Scored
WHERE guess.best NOT IN ('unknown', 'error')

SELECT id, CASE WHEN guess.best = class THEN 1 ELSE 0 END AS hit INTO hits FROM Scored;
