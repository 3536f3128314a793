-- Bids on some auctions.
SELECT auction, price
INTO out
FROM bids TIMESTAMP BY dateTime
WHERE auction % 123 = 0
