-- The older group windows: TUMBLE, HOP and SESSION in GROUP BY with their auxiliary functions.
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

CREATE TABLE tumbled (
    `user` STRING,
    w_start TIMESTAMP(3),
    w_end TIMESTAMP(3),
    w_time TIMESTAMP(3),
    n BIGINT,
    amount INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/tumbled',
    'format' = 'json'
);

INSERT INTO tumbled
SELECT `user`, TUMBLE_START(ts, INTERVAL '1' MINUTE) AS w_start, TUMBLE_END(ts, INTERVAL '1' MINUTE) AS w_end,
    TUMBLE_ROWTIME(ts, INTERVAL '1' MINUTE) AS w_time, COUNT(*) AS n, SUM(amount) AS amount
FROM clicks GROUP BY `user`, TUMBLE(ts, INTERVAL '1' MINUTE);

CREATE TABLE hopped (
    action STRING,
    w_start TIMESTAMP(3),
    users BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hopped',
    'format' = 'json'
);

INSERT INTO hopped
SELECT action, HOP_START(ts, INTERVAL '30' SECOND, INTERVAL '1' MINUTE) AS w_start, COUNT(DISTINCT `user`) AS users
FROM clicks GROUP BY action, HOP(ts, INTERVAL '30' SECOND, INTERVAL '1' MINUTE);

CREATE TABLE bursts (
    `user` STRING,
    w_start TIMESTAMP(3),
    w_end TIMESTAMP(3),
    most INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/bursts',
    'format' = 'json'
);

INSERT INTO bursts
SELECT `user`, SESSION_START(ts, INTERVAL '10' SECOND) AS w_start, SESSION_END(ts, INTERVAL '10' SECOND) AS w_end, MAX(amount) AS most
FROM clicks GROUP BY `user`, SESSION(ts, INTERVAL '10' SECOND);
