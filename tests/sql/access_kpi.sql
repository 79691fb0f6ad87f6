-- Web access KPIs: per minute, section and region page views, unique users, mean response time, error
-- rate and revenue. A key column holds nulls, revenue is a DECIMAL that is mostly null.
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

CREATE TABLE access_kpi (
    minute_start TIMESTAMP(3),
    section STRING,
    region STRING,
    page_views BIGINT,
    unique_users BIGINT,
    avg_ms INT,
    avg_ms_exact DOUBLE,
    max_ms INT,
    error_rate DOUBLE,
    traffic BIGINT,
    revenue DECIMAL(38, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/access_kpi',
    'format' = 'json'
);

INSERT INTO access_kpi
SELECT
    window_start,
    section,
    region,
    COUNT(*) AS page_views,
    COUNT(DISTINCT user_id) AS unique_users,
    AVG(ms),
    AVG(CAST(ms AS DOUBLE)),
    MAX(ms),
    CAST(SUM(CASE WHEN status >= 500 THEN 1 ELSE 0 END) AS DOUBLE) / COUNT(*) AS error_rate,
    SUM(`bytes`),
    SUM(revenue)
FROM TABLE(TUMBLE(TABLE access_log, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY section, region, window_start, window_end;
