-- Sensors: shares of readings that are missing or bad, by device and minute.
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

SELECT window_start, device, COUNT(*), COUNT(temperature), COUNT(*) FILTER (WHERE state <> 'ok'), ROUND(AVG(temperature), 6), MIN(humidity), MAX(battery)
FROM TABLE(TUMBLE(TABLE reading, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, device;

SELECT window_end, state, COUNT(*), COUNT(DISTINCT device), AVG(humidity), ROUND(STDDEV_SAMP(temperature), 6)
FROM TABLE(CUMULATE(TABLE reading, DESCRIPTOR(ts), INTERVAL '10' MINUTE, INTERVAL '1' HOUR))
GROUP BY window_start, window_end, state;
