-- The highest bid of every 10 seconds.
WITH highest AS (
    SELECT MAX(price) AS price
    FROM bids TIMESTAMP BY dateTime
    GROUP BY TumblingWindow(Duration(second, 10), Offset(millisecond, -1))
)
SELECT bids.auction, bids.price, bids.bidder, bids.dateTime, bids.extra
INTO out
FROM bids TIMESTAMP BY dateTime
JOIN highest ON bids.price = highest.price AND DATEDIFF(millisecond, bids, highest) BETWEEN 0 AND 9999
