-- Access log: errors by section and status class, with shares, by minute.
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

SELECT window_start, section, status / 100 AS class, COUNT(*), AVG(ms), MAX(ms), SUM(`bytes`), SUM(revenue)
FROM TABLE(TUMBLE(TABLE access_log, DESCRIPTOR(ts), INTERVAL '2' MINUTE))
GROUP BY window_start, window_end, section, status / 100;

SELECT window_start, region, COUNT(*) FILTER (WHERE status >= 500) * 100.0 / COUNT(*), COUNT(DISTINCT user_id),
    SUM(revenue) / COUNT(DISTINCT user_id), COUNT(*) FILTER (WHERE path LIKE '%ref=mail%')
FROM TABLE(TUMBLE(TABLE access_log, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, region;
