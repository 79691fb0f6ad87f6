-- Offsets of tumbling windows: positive, negative, larger than a minute; windows of a day at an offset; a window that does not divide a minute.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE reading (
    device STRING,
    ts TIMESTAMP(3),
    temperature DOUBLE,
    humidity DOUBLE,
    battery INT,
    state STRING,
    WATERMARK FOR ts AS ts - INTERVAL '6' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/sensors.csv',
    'format' = 'csv',
    'csv.null-literal' = ''
);

CREATE TABLE plus_offset (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    battery INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/plus_offset',
    'format' = 'json'
);

INSERT INTO plus_offset
SELECT window_start, window_end, COUNT(*) AS n, SUM(battery) AS battery
FROM TABLE(TUMBLE(TABLE reading, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '7' SECOND))
GROUP BY window_start, window_end;

CREATE TABLE minus_offset (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    state STRING,
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/minus_offset',
    'format' = 'json'
);

INSERT INTO minus_offset
SELECT window_start, window_end, state, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE reading, DESCRIPTOR(ts), INTERVAL '10' MINUTE, INTERVAL '-90' SECOND))
GROUP BY window_start, window_end, state;

CREATE TABLE odd_size (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/odd_size',
    'format' = 'json'
);

INSERT INTO odd_size
SELECT window_start, window_end, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE reading, DESCRIPTOR(ts), INTERVAL '77' SECOND))
GROUP BY window_start, window_end;

CREATE TABLE by_day (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    device STRING,
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_day',
    'format' = 'json'
);

INSERT INTO by_day
SELECT window_start, window_end, device, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE reading, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL '1' HOUR))
GROUP BY device, window_start, window_end;

CREATE TABLE hop_offset (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hop_offset',
    'format' = 'json'
);

INSERT INTO hop_offset
SELECT window_start, window_end, COUNT(*) AS n
FROM TABLE(HOP(TABLE reading, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '10' MINUTE, INTERVAL '30' SECOND))
GROUP BY window_start, window_end;

CREATE TABLE cumulate_offset (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    battery INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/cumulate_offset',
    'format' = 'json'
);

INSERT INTO cumulate_offset
SELECT window_start, window_end, MAX(battery) AS battery
FROM TABLE(CUMULATE(TABLE reading, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '20' MINUTE, INTERVAL '3' MINUTE))
GROUP BY window_start, window_end;
