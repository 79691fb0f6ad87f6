-- Joins of hopping and cumulating windows, of windows by NULL and computed keys, of three tables, and an aggregation over a join.
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

CREATE TABLE hopped (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    `user` STRING,
    l INT,
    r INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hopped',
    'format' = 'json'
);

INSERT INTO hopped
SELECT l.window_start, l.window_end, l.`user`, l.amount, r.amount
FROM (SELECT * FROM TABLE(HOP(TABLE looks, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '3' MINUTE)) WHERE amount > 400) AS l
JOIN (SELECT * FROM TABLE(HOP(TABLE others, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '3' MINUTE)) WHERE amount > 300) AS r
ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.`user` = r.`user`;

CREATE TABLE cumulated (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT,
    total INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/cumulated',
    'format' = 'json'
);

INSERT INTO cumulated
SELECT window_start, window_end, COUNT(*), SUM(amount) FROM (
    SELECT l.window_start, l.window_end, l.window_time, l.amount
    FROM (SELECT * FROM TABLE(CUMULATE(TABLE looks, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '6' MINUTE))) AS l
    JOIN (SELECT * FROM TABLE(CUMULATE(TABLE others, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '6' MINUTE))) AS r
    ON l.window_start = r.window_start AND l.window_end = r.window_end AND MOD(l.amount, 5) = MOD(r.amount, 5)
) GROUP BY window_start, window_end;

CREATE TABLE null_keys (
    s TIMESTAMP(3),
    lk STRING,
    rk STRING,
    l INT,
    r INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/null_keys',
    'format' = 'json'
);

CREATE VIEW looks_null AS SELECT NULLIF(`user`, 'bob') AS k, amount, ts FROM looks;
CREATE VIEW others_null AS SELECT NULLIF(`user`, 'bob') AS k, amount, ts FROM others;
INSERT INTO null_keys
SELECT COALESCE(l.window_start, r.window_start), l.k, r.k, l.amount, r.amount
FROM (SELECT * FROM TABLE(TUMBLE(TABLE looks_null, DESCRIPTOR(ts), INTERVAL '2' MINUTE))) AS l
FULL JOIN (SELECT * FROM TABLE(TUMBLE(TABLE others_null, DESCRIPTOR(ts), INTERVAL '2' MINUTE))) AS r
ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.k = r.k;

CREATE TABLE three (
    s TIMESTAMP(3),
    `user` STRING,
    a INT,
    b INT,
    c BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/three',
    'format' = 'json'
);

CREATE VIEW totals AS
SELECT window_start, window_end, `user`, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, `user`;
INSERT INTO three
SELECT l.window_start, l.`user`, l.amount, r.amount, t.n
FROM (SELECT * FROM TABLE(TUMBLE(TABLE looks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS l
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS r
ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.`user` = r.`user`
JOIN totals AS t
ON l.window_start = t.window_start AND l.window_end = t.window_end AND l.`user` = t.`user`;
