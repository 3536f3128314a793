-- Bids with their price in euros.
SELECT auction, bidder, price * 0.908 AS price, dateTime, extra
INTO out
FROM bids TIMESTAMP BY dateTime
