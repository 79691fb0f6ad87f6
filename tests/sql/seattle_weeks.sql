-- Four years of Seattle in weeks, and in spans of thirty days with an offset.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE weather (
    day_text STRING,
    precipitation DOUBLE,
    temp_max DOUBLE,
    temp_min DOUBLE,
    wind DOUBLE,
    weather STRING,
    measured AS TO_TIMESTAMP(day_text, 'yyyy/MM/dd'),
    WATERMARK FOR measured AS measured
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/seattle-weather.csv',
    'format' = 'csv'
);

SELECT window_start, ROUND(SUM(precipitation), 6), MAX(temp_max), MIN(temp_min), COUNT(*) FILTER (WHERE weather = 'rain'), COUNT(DISTINCT weather)
FROM TABLE(TUMBLE(TABLE weather, DESCRIPTOR(measured), INTERVAL '7' DAY))
GROUP BY window_start, window_end
HAVING SUM(precipitation) > 40;

SELECT window_start, window_end, weather, COUNT(*), ROUND(AVG(wind), 6)
FROM TABLE(TUMBLE(TABLE weather, DESCRIPTOR(measured), INTERVAL '30' DAY, INTERVAL '3' DAY))
GROUP BY window_start, window_end, weather
HAVING COUNT(*) > 12;
