-- Rows with and without a partner in their window: IN, EXISTS, NOT IN, NOT EXISTS.
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

CREATE TABLE with_partner (
    s TIMESTAMP(3),
    `user` STRING,
    amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/with_partner',
    'format' = 'json'
);

INSERT INTO with_partner
SELECT l.window_start, l.`user`, l.amount
FROM (SELECT * FROM TABLE(TUMBLE(TABLE looks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS l
WHERE l.`user` IN (
    SELECT r.`user` FROM (SELECT * FROM TABLE(TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS r
    WHERE l.window_start = r.window_start AND l.window_end = r.window_end);

CREATE TABLE exists_partner (
    s TIMESTAMP(3),
    `user` STRING,
    amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/exists_partner',
    'format' = 'json'
);

INSERT INTO exists_partner
SELECT l.window_start, l.`user`, l.amount
FROM (SELECT * FROM TABLE(TUMBLE(TABLE looks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS l
WHERE EXISTS (
    SELECT * FROM (SELECT * FROM TABLE(TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS r
    WHERE l.window_start = r.window_start AND l.window_end = r.window_end AND l.`user` = r.`user`);

CREATE TABLE without_partner (
    s TIMESTAMP(3),
    `user` STRING,
    amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/without_partner',
    'format' = 'json'
);

INSERT INTO without_partner
SELECT l.window_start, l.`user`, l.amount
FROM (SELECT * FROM TABLE(TUMBLE(TABLE looks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS l
WHERE NOT EXISTS (
    SELECT * FROM (SELECT * FROM TABLE(TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS r
    WHERE l.window_start = r.window_start AND l.window_end = r.window_end AND l.`user` = r.`user`);
