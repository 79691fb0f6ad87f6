-- Cumulating windows: totals that grow every step until the day (here five minutes) ends, with and without a key, distinct counts.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE access_log (
    ts TIMESTAMP(3),
    user_id STRING,
    region STRING,
    section STRING,
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

CREATE TABLE totals (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    window_time TIMESTAMP(3),
    hits BIGINT,
    users BIGINT,
    revenue DECIMAL(38, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/totals',
    'format' = 'json'
);

INSERT INTO totals
SELECT window_start, window_end, window_time, COUNT(*) AS hits, COUNT(DISTINCT user_id) AS users, SUM(revenue) AS revenue
FROM TABLE(CUMULATE(TABLE access_log, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, window_time;

CREATE TABLE per_section (
    section STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    hits BIGINT,
    fastest INT,
    last_user STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/per_section',
    'format' = 'json'
);

INSERT INTO per_section
SELECT section, window_start, window_end, COUNT(*) AS hits, MIN(ms) AS fastest, MAX(user_id) AS last_user
FROM TABLE(CUMULATE(TABLE access_log, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '4' MINUTE))
GROUP BY section, window_start, window_end;
