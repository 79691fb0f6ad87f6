-- Four years of daily weather in Seattle: 30-day windows, yearly cumulation, spells of rain as sessions, dates in another notation.
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

CREATE TEMPORARY VIEW rain AS SELECT * FROM weather WHERE precipitation > 0;

CREATE TABLE thirty_days (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    weather STRING,
    days BIGINT,
    warmest DOUBLE,
    coldest DOUBLE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/thirty_days',
    'format' = 'json'
);

INSERT INTO thirty_days
SELECT window_start, window_end, weather, COUNT(*) AS days, MAX(temp_max) AS warmest, MIN(temp_min) AS coldest
FROM TABLE(TUMBLE(TABLE weather, DESCRIPTOR(measured), INTERVAL '30' DAY(2)))
GROUP BY weather, window_start, window_end;

CREATE TABLE spells (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    days BIGINT,
    heaviest DOUBLE,
    total DECIMAL(38, 1)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/spells',
    'format' = 'json'
);

INSERT INTO spells
SELECT window_start, window_end, COUNT(*) AS days, MAX(precipitation) AS heaviest,
    SUM(CAST(precipitation AS DECIMAL(6, 1))) AS total
FROM TABLE(SESSION(TABLE rain, DESCRIPTOR(measured), INTERVAL '2' DAY))
GROUP BY window_start, window_end
HAVING COUNT(*) >= 7;

CREATE TABLE hot (
    d DATE,
    temp_max DOUBLE,
    fahrenheit DOUBLE,
    label STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hot',
    'format' = 'json'
);

INSERT INTO hot
SELECT TO_DATE(day_text, 'yyyy/MM/dd') AS d, temp_max, temp_max * 9 / 5 + 32 AS fahrenheit, DATE_FORMAT(measured, 'EEE d MMM') AS label
FROM weather WHERE temp_max >= 33;
