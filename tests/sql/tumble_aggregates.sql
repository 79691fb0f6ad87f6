-- Tumbling windows with every plain aggregate over csv readings: doubles, floats, ints, strings,
-- timestamps, nulls. Without a null literal an empty csv field of a number fails.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE reading (
    device STRING,
    ts TIMESTAMP(3),
    temperature DOUBLE,
    humidity FLOAT,
    battery INT,
    state STRING,
    WATERMARK FOR ts AS ts - INTERVAL '6' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/sensors.csv',
    'format' = 'csv',
    'csv.null-literal' = ''
);

CREATE TABLE per_device (
    device STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    n_temperature BIGINT,
    sum_battery INT,
    avg_battery INT,
    min_battery INT,
    max_battery INT,
    min_temperature DOUBLE,
    max_temperature DOUBLE,
    min_humidity FLOAT,
    max_humidity FLOAT,
    first_state STRING,
    last_state STRING,
    earliest TIMESTAMP(3),
    latest TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/per_device',
    'format' = 'json'
);

CREATE TABLE overall (
    window_start TIMESTAMP(3),
    n BIGINT,
    devices BIGINT,
    states BIGINT,
    max_battery INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/overall',
    'format' = 'json'
);

INSERT INTO per_device
SELECT
    device, window_start, window_end,
    COUNT(*), COUNT(temperature),
    SUM(battery), AVG(battery), MIN(battery), MAX(battery),
    MIN(temperature), MAX(temperature), MIN(humidity), MAX(humidity),
    MIN(state), MAX(state), MIN(ts), MAX(ts)
FROM TABLE(TUMBLE(TABLE reading, DESCRIPTOR(ts), INTERVAL '5' MINUTES))
GROUP BY device, window_start, window_end;

INSERT INTO overall
SELECT window_start, COUNT(*), COUNT(DISTINCT device), COUNT(DISTINCT state), MAX(battery)
FROM TABLE(TUMBLE(TABLE reading, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
