-- A join of the results of two window aggregations.
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

CREATE TABLE rates (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    `user` STRING,
    seen BIGINT,
    bought BIGINT,
    amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/rates',
    'format' = 'json'
);

CREATE VIEW seen AS
SELECT window_start, window_end, `user`, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) WHERE action = 'view' GROUP BY window_start, window_end, `user`;
CREATE VIEW bought AS
SELECT window_start, window_end, `user`, COUNT(*) AS n, SUM(amount) AS amount
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) WHERE action = 'buy' GROUP BY window_start, window_end, `user`;

INSERT INTO rates
SELECT s.window_start, s.window_end, s.`user`, s.n, b.n, b.amount
FROM seen s LEFT JOIN bought b ON s.window_start = b.window_start AND s.window_end = b.window_end AND s.`user` = b.`user`;
