-- Bids of each bidder while pauses are shorter than 10 seconds.
WITH timed AS (
    SELECT bidder, System.Timestamp() AS at
    FROM bids TIMESTAMP BY dateTime
)
SELECT bidder, COUNT(*) AS bid_count, MIN(at) AS starttime, DATEADD(millisecond, 1, System.Timestamp()) AS endtime
INTO out
FROM timed
GROUP BY bidder, SessionWindow(millisecond, 9999, 604800000) OVER (PARTITION BY bidder)
