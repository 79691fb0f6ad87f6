-- Weather in windows of a day that begin every eight hours, with the coldest and the span.
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

SELECT origin, window_start, window_end, MIN(temp), MAX(temp), MAX(temp) - MIN(temp), COUNT(pressure), COUNT(*)
FROM TABLE(HOP(TABLE weather, DESCRIPTOR(measured), INTERVAL '8' HOUR, INTERVAL '24' HOUR))
GROUP BY origin, window_start, window_end;
