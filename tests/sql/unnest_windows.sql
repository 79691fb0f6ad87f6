-- UNNEST below and above windows: the row time goes through, and so does a window.
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

CREATE TABLE letters (
    w_start TIMESTAMP(3),
    letter STRING,
    n BIGINT,
    users BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/letters',
    'format' = 'json'
);

CREATE TEMPORARY VIEW tagged AS
SELECT ts, `user`, tag FROM clicks CROSS JOIN UNNEST(ARRAY[action, SUBSTRING(action, 1, 1), `user`]) AS t (tag);

INSERT INTO letters
SELECT window_start, tag, COUNT(*), COUNT(DISTINCT `user`)
FROM TABLE(TUMBLE(TABLE tagged, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, tag;

CREATE TABLE windows (
    w_end TIMESTAMP(3),
    tag STRING,
    total INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/windows',
    'format' = 'json'
);

INSERT INTO windows
SELECT window_end, tag, SUM(amount)
FROM (
    SELECT window_start, window_end, amount, tag
    FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
    CROSS JOIN UNNEST(ARRAY[action, 'all']) AS t (tag)
)
GROUP BY window_start, window_end, tag;
