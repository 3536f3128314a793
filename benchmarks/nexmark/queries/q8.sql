-- Persons who opened an auction in the same 10 seconds in which they came.
WITH newcomers AS (
    SELECT id, name
    FROM persons TIMESTAMP BY dateTime
    GROUP BY id, name, TumblingWindow(Duration(second, 10), Offset(millisecond, -1))
), sellers AS (
    SELECT seller
    FROM auctions TIMESTAMP BY dateTime
    GROUP BY seller, TumblingWindow(Duration(second, 10), Offset(millisecond, -1))
)
SELECT newcomers.id, newcomers.name, DATEADD(millisecond, -9999, System.Timestamp()) AS starttime
INTO out
FROM newcomers
JOIN sellers ON newcomers.id = sellers.seller AND DATEDIFF(millisecond, newcomers, sellers) = 0
