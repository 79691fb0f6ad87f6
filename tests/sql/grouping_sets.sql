-- GROUPING SETS within windows, with the whole, with GROUPING and GROUPING_ID.
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

CREATE TABLE sets (
    w_start TIMESTAMP(3),
    `user` STRING,
    action STRING,
    n BIGINT,
    amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sets',
    'format' = 'json'
);

INSERT INTO sets
SELECT window_start, `user`, action, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, GROUPING SETS ((`user`, action), (`user`), (action), ());

CREATE TABLE marked (
    w_end TIMESTAMP(3),
    `user` STRING,
    action STRING,
    no_user BIGINT,
    no_action BIGINT,
    id BIGINT,
    most INT,
    users BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/marked',
    'format' = 'json'
);

INSERT INTO marked
SELECT window_end, `user`, action, GROUPING(`user`), GROUPING(action), GROUPING_ID(`user`, action), MAX(amount), COUNT(DISTINCT `user`)
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, GROUPING SETS ((`user`), (action))
HAVING COUNT(*) > 20;
