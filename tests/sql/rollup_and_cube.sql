-- ROLLUP and CUBE within windows, of columns and of expressions, NULL keys beside the NULL of a total.
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

CREATE TABLE rolled (
    w_start TIMESTAMP(3),
    `user` STRING,
    action STRING,
    id BIGINT,
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/rolled',
    'format' = 'json'
);

INSERT INTO rolled
SELECT window_start, u, action, GROUPING_ID(u, action), COUNT(*)
FROM (SELECT window_start, window_end, NULLIF(`user`, 'ann') AS u, action FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' MINUTE)))
GROUP BY window_start, window_end, ROLLUP (u, action);

CREATE TABLE cubed (
    w_start TIMESTAMP(3),
    `user` STRING,
    action STRING,
    is_large BOOLEAN,
    n BIGINT,
    mean INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/cubed',
    'format' = 'json'
);

CREATE VIEW sized AS SELECT `user`, action, amount, ts, amount > 250 AS is_large FROM clicks;

INSERT INTO cubed
SELECT window_start, `user`, action, is_large, COUNT(*), AVG(amount)
FROM TABLE(CUMULATE(TABLE sized, DESCRIPTOR(ts), INTERVAL '10' MINUTE, INTERVAL '30' MINUTE))
GROUP BY window_start, window_end, CUBE (`user`, action, is_large);
