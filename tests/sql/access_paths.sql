-- Access log: parts of URLs as keys.
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

SELECT window_start, PARSE_URL('http://x' || path, 'QUERY', 'ref') AS referrer, COUNT(*), COUNT(DISTINCT user_id)
FROM TABLE(TUMBLE(TABLE access_log, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, PARSE_URL('http://x' || path, 'QUERY', 'ref');

SELECT window_start, SPLIT_INDEX(path, '/', 1) AS folder, REGEXP_EXTRACT(path, 'v=([0-9])', 1) AS v, COUNT(*)
FROM TABLE(TUMBLE(TABLE access_log, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, SPLIT_INDEX(path, '/', 1), REGEXP_EXTRACT(path, 'v=([0-9])', 1);
