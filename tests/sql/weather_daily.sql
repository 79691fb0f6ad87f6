-- Hourly weather of New York's airports: hopping days, a row time read as ISO text with a Z, doubles with NA.
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

CREATE TABLE daily (
    origin STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    coldest DOUBLE,
    warmest DOUBLE,
    gust DOUBLE,
    n_pressure BIGINT,
    directions BIGINT,
    rain DECIMAL(38, 2),
    mean_dir INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/daily',
    'format' = 'json'
);

INSERT INTO daily
SELECT origin, window_start, window_end, COUNT(*) AS n, MIN(temp) AS coldest, MAX(temp) AS warmest,
    MAX(wind_gust) AS gust, COUNT(pressure) AS n_pressure, COUNT(DISTINCT wind_dir) AS directions,
    SUM(CAST(precip AS DECIMAL(8, 2))) AS rain, AVG(wind_dir) AS mean_dir
FROM TABLE(HOP(TABLE weather, DESCRIPTOR(measured), INTERVAL '12' HOUR, INTERVAL '1' DAY))
GROUP BY origin, window_start, window_end;

CREATE TABLE freezing (
    origin STRING,
    measured TIMESTAMP(3),
    celsius DOUBLE,
    rounded DOUBLE,
    label STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/freezing',
    'format' = 'json'
);

INSERT INTO freezing
SELECT origin, measured, (temp - 32) * 5 / 9 AS celsius, ROUND((temp - 32) * 5 / 9, 1) AS rounded,
    CAST(CAST((temp - 32) * 5 / 9 AS DECIMAL(5, 2)) AS STRING) || ' C' AS label
FROM weather WHERE temp < 25;
