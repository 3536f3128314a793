-- A reading is a record with records in it; its temperature may be a number, a text, or not there.
WITH flat AS (
    SELECT sensor, place.site AS site, taken,
           TRY_CAST(values.celsius AS float) AS celsius
    FROM readings
)
SELECT site, sensor, taken, celsius, fahrenheit(celsius) AS fahrenheit
INTO latest
FROM flat
WHERE celsius IS NOT NULL

SELECT site, sensor, taken, celsius
INTO alerts
FROM flat
WHERE celsius > 60
