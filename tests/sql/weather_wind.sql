-- Hourly weather of three airports: wind by quarter of the sky, gusts that are mostly missing.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE weather (
    origin STRING, `year` INT, `month` INT, `day` INT, `hour` INT,
    temp DOUBLE, dewp DOUBLE, humid DOUBLE, wind_dir INT, wind_speed DOUBLE, wind_gust DOUBLE,
    precip DOUBLE, pressure DOUBLE, visib DOUBLE, time_hour STRING,
    measured AS TO_TIMESTAMP(REPLACE(REPLACE(time_hour, 'T', ' '), 'Z', '')),
    WATERMARK FOR measured AS measured
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/weather.csv',
    'format' = 'csv',
    'csv.null-literal' = 'NA'
);

SELECT origin, window_start, COUNT(wind_gust), MAX(wind_gust), ROUND(AVG(wind_speed), 6), ROUND(VAR_POP(wind_speed), 6), COUNT(DISTINCT wind_dir), ROUND(SUM(precip), 6)
FROM TABLE(TUMBLE(TABLE weather, DESCRIPTOR(measured), INTERVAL '1' DAY))
GROUP BY origin, window_start, window_end;

SELECT window_start, wind_dir / 90 AS quarter, COUNT(*), MIN(temp), MAX(pressure), ROUND(AVG(visib), 6)
FROM TABLE(TUMBLE(TABLE weather, DESCRIPTOR(measured), INTERVAL '2' DAY))
GROUP BY window_start, window_end, wind_dir / 90;
