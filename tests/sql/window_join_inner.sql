-- INNER JOIN of two tables window by window, with and without a key, with another condition.
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

CREATE VIEW looks AS SELECT `user`, amount, ts FROM clicks WHERE action = 'view';
CREATE VIEW others AS SELECT `user`, action, amount, ts FROM clicks WHERE action <> 'view' AND `user` <> 'ann';

CREATE TABLE keyed (
    s TIMESTAMP(3),
    l_user STRING,
    r_user STRING,
    l_amount INT,
    r_amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/keyed',
    'format' = 'json'
);

INSERT INTO keyed
SELECT COALESCE(l.window_start, r.window_start), l.`user`, r.`user`, l.amount, r.amount
FROM (SELECT * FROM TABLE(TUMBLE(TABLE looks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS l
INNER JOIN (SELECT * FROM TABLE(TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS r
ON l.`user` = r.`user` AND l.window_start = r.window_start AND l.window_end = r.window_end;

CREATE TABLE conditional (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    l_user STRING,
    r_action STRING,
    l_amount INT,
    r_amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/conditional',
    'format' = 'json'
);

INSERT INTO conditional
SELECT l.window_start, r.window_end, l.`user`, r.action, l.amount, r.amount
FROM (SELECT * FROM TABLE(TUMBLE(TABLE looks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))) AS l
INNER JOIN (SELECT * FROM TABLE(TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '5' MINUTE))) AS r
ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.`user` = r.`user` AND l.amount > r.amount + 100;
