-- Passes bids on: what reading, decoding, encoding and writing cost.
SELECT auction, bidder, price, dateTime, extra
INTO out
FROM bids TIMESTAMP BY dateTime
