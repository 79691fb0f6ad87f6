-- Access log: visits as sessions of a user, and how many begin in each minute.
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

CREATE TEMPORARY VIEW visits AS
SELECT user_id, window_start AS begun, window_time AS ended, COUNT(*) AS pages, SUM(revenue) AS revenue
FROM TABLE(SESSION(TABLE access_log PARTITION BY user_id, DESCRIPTOR(ts), INTERVAL '30' SECOND))
GROUP BY user_id, window_start, window_end, window_time;

SELECT window_start, COUNT(*), AVG(pages), MAX(pages), SUM(revenue)
FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ended), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end;
