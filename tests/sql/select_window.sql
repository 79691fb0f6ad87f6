-- A top-level SELECT of a window aggregation is append-only: only +I rows.
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

SELECT `user`, window_start, window_end, SUM(amount) AS amount, AVG(amount) AS mean, COUNT(DISTINCT action) AS actions
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY `user`, window_start, window_end
HAVING SUM(amount) > 1000;
