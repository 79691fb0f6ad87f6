-- Sensors: how long a device is silent.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE reading (
    device STRING,
    ts TIMESTAMP(3),
    temperature DOUBLE,
    humidity DECIMAL(5, 1),
    battery SMALLINT,
    state STRING,
    WATERMARK FOR ts AS ts - INTERVAL '30' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/sensors.csv',
    'format' = 'csv',
    'csv.null-literal' = ''
);

SELECT device, window_start, window_end, COUNT(*), MAX(temperature) - MIN(temperature)
FROM TABLE(SESSION(TABLE reading PARTITION BY device, DESCRIPTOR(ts), INTERVAL '90' SECOND))
GROUP BY device, window_start, window_end;
