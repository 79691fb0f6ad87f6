-- Group windows of old: keys of expressions, no keys, HAVING, FILTER, a window over TUMBLE_ROWTIME, the time of sessions.
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

CREATE TABLE by_expression (
    first_letter STRING,
    is_large BOOLEAN,
    s TIMESTAMP(3),
    n BIGINT,
    seen BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_expression',
    'format' = 'json'
);

INSERT INTO by_expression
SELECT SUBSTRING(`user`, 1, 1), amount > 250, TUMBLE_START(ts, INTERVAL '2' MINUTE), COUNT(*), COUNT(*) FILTER (WHERE action = 'view')
FROM clicks GROUP BY TUMBLE(ts, INTERVAL '2' MINUTE), SUBSTRING(`user`, 1, 1), amount > 250;

CREATE TABLE total (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/total',
    'format' = 'json'
);

INSERT INTO total
SELECT HOP_START(ts, INTERVAL '1' MINUTE, INTERVAL '4' MINUTE), HOP_END(ts, INTERVAL '1' MINUTE, INTERVAL '4' MINUTE), COUNT(*)
FROM clicks WHERE action <> 'view' GROUP BY HOP(ts, INTERVAL '1' MINUTE, INTERVAL '4' MINUTE) HAVING COUNT(*) > 15;

CREATE VIEW per_minute AS
SELECT `user`, TUMBLE_ROWTIME(ts, INTERVAL '1' MINUTE) AS rt, SUM(amount) AS amount
FROM clicks GROUP BY `user`, TUMBLE(ts, INTERVAL '1' MINUTE);

CREATE TABLE over_others (
    `user` STRING,
    e TIMESTAMP(3),
    amount INT,
    parts BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/over_others',
    'format' = 'json'
);

INSERT INTO over_others
SELECT `user`, TUMBLE_END(rt, INTERVAL '5' MINUTE), SUM(amount), COUNT(*) FROM per_minute GROUP BY `user`, TUMBLE(rt, INTERVAL '5' MINUTE);

CREATE TABLE sessions (
    k STRING,
    s TIMESTAMP(3),
    rt TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sessions',
    'format' = 'json'
);

INSERT INTO sessions
SELECT UPPER(`user`) || action, SESSION_START(ts, INTERVAL '20' SECOND), SESSION_ROWTIME(ts, INTERVAL '20' SECOND), COUNT(*)
FROM clicks GROUP BY UPPER(`user`) || action, SESSION(ts, INTERVAL '20' SECOND);

CREATE TABLE uneven (
    s TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/uneven',
    'format' = 'json'
);

INSERT INTO uneven
SELECT TUMBLE_START(ts, INTERVAL '7' SECOND), COUNT(*) FROM clicks GROUP BY TUMBLE(ts, INTERVAL '7' SECOND);
