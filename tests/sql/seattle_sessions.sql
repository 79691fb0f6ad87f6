-- Dry spells and wet spells in Seattle, as sessions of days.
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

CREATE TEMPORARY VIEW wet AS SELECT * FROM weather WHERE precipitation > 0;

SELECT window_start, window_end, COUNT(*) AS days, ROUND(SUM(precipitation), 6)
FROM TABLE(SESSION(TABLE wet, DESCRIPTOR(measured), INTERVAL '2' DAY))
GROUP BY window_start, window_end
HAVING COUNT(*) > 6;
