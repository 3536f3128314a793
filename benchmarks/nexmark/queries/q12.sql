-- Bids of each bidder in every 10 seconds.
SELECT bidder, COUNT(*) AS bid_count,
    DATEADD(millisecond, -9999, System.Timestamp()) AS starttime,
    DATEADD(millisecond, 1, System.Timestamp()) AS endtime
INTO out
FROM bids TIMESTAMP BY dateTime
GROUP BY bidder, TumblingWindow(Duration(second, 10), Offset(millisecond, -1))
