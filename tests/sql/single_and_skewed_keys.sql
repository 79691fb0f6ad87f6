-- One key that has all rows, and one that has nearly all.
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

SELECT window_start, 'all' AS k, COUNT(*), COUNT(DISTINCT user_id), SUM(`bytes`)
FROM TABLE(TUMBLE(TABLE access_log, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, 'all';

SELECT window_start, CASE WHEN user_id = 'u0095' THEN user_id ELSE 'others' END AS k, COUNT(*), MAX(ms), SUM(revenue)
FROM TABLE(HOP(TABLE access_log, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '4' MINUTE))
GROUP BY window_start, window_end, CASE WHEN user_id = 'u0095' THEN user_id ELSE 'others' END;
