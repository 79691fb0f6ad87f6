-- Windows over windows over windows, and a union of two of them.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE access_log (
    ts TIMESTAMP(3),
    user_id STRING,
    region STRING,
    section STRING,
    path STRING,
    status INT,
    ms INT,
    `bytes` BIGINT,
    revenue DECIMAL(10, 2),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/access.json',
    'format' = 'json'
);

CREATE TEMPORARY VIEW minutes AS
SELECT window_time AS ended, region, COUNT(*) AS n, SUM(ms) AS ms
FROM TABLE(TUMBLE(TABLE access_log, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, window_time, region;

CREATE TEMPORARY VIEW spans AS
SELECT window_time AS ended, region, SUM(n) AS n, MAX(ms) AS ms
FROM TABLE(TUMBLE(TABLE minutes, DESCRIPTOR(ended), INTERVAL '3' MINUTE))
GROUP BY window_start, window_end, window_time, region;

SELECT window_start, SUM(n), MAX(ms), COUNT(*)
FROM TABLE(TUMBLE(TABLE spans, DESCRIPTOR(ended), INTERVAL '6' MINUTE))
GROUP BY window_start, window_end;

SELECT window_start, region, SUM(n)
FROM TABLE(HOP(TABLE minutes, DESCRIPTOR(ended), INTERVAL '2' MINUTE, INTERVAL '4' MINUTE))
GROUP BY window_start, window_end, region;
