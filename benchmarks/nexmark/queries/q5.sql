-- Hot items: every 2 seconds, the auctions that had the most bids in the last 10.
WITH counts AS (
    SELECT auction, COUNT(*) AS num
    FROM bids TIMESTAMP BY dateTime
    GROUP BY auction, HoppingWindow(Duration(second, 10), Hop(second, 2), Offset(millisecond, -1))
), most AS (
    SELECT MAX(num) AS num
    FROM counts
    GROUP BY System.Timestamp()
)
SELECT counts.auction, counts.num
INTO out
FROM counts
JOIN most ON counts.num = most.num AND DATEDIFF(millisecond, counts, most) = 0
