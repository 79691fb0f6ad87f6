-- Session windows per user (with a null user) and over all rows; out of order within the delay, so
-- that sessions merge.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE clicks (
    `user` STRING,
    action STRING,
    amount INT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/clicks.json',
    'format' = 'json'
);

CREATE TABLE per_user (
    `user` STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    clicks BIGINT,
    buys BIGINT,
    amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/per_user',
    'format' = 'json'
);

CREATE TABLE overall (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    window_time TIMESTAMP(3),
    clicks BIGINT,
    users BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/overall',
    'format' = 'json'
);

INSERT INTO per_user
SELECT
    `user`, window_start, window_end,
    COUNT(*), COUNT(*) FILTER (WHERE action = 'buy'), SUM(amount)
FROM TABLE(SESSION(TABLE clicks PARTITION BY `user`, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY `user`, window_start, window_end;

INSERT INTO overall
SELECT window_start, window_end, window_time, COUNT(*), COUNT(DISTINCT `user`)
FROM TABLE(SESSION(TABLE clicks, DESCRIPTOR(ts), INTERVAL '4' SECOND))
GROUP BY window_start, window_end, window_time;
