-- The TUMBLE, HOP and CUMULATE table functions used without aggregation: every row with its windows, filters on them, offsets.
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
    action STRING,
    amount INT,
    ts TIMESTAMP(3),
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    window_time TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/tumbled',
    'format' = 'json'
);

INSERT INTO tumbled
SELECT `user`, action, amount, CAST(ts AS TIMESTAMP(3)) AS ts, window_start, window_end, window_time
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) WHERE amount > 400;

CREATE TABLE hopped (
    `user` STRING,
    amount INT,
    ts TIMESTAMP(3),
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    window_time TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hopped',
    'format' = 'json'
);

INSERT INTO hopped
SELECT `user`, amount, ts, window_start, window_end, CAST(window_time AS TIMESTAMP(3)) AS window_time
FROM TABLE(HOP(DATA => TABLE clicks, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '20' SECOND, SIZE => INTERVAL '1' MINUTE))
WHERE amount > 470 AND action = 'buy';

CREATE TABLE cumulated (
    `user` STRING,
    amount INT,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/cumulated',
    'format' = 'json'
);

INSERT INTO cumulated
SELECT `user`, amount, window_start, window_end
FROM TABLE(CUMULATE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '2' MINUTES)) AS w
WHERE w.amount BETWEEN 490 AND 500;

CREATE TABLE shifted (
    `user` STRING,
    ts TIMESTAMP(3),
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/shifted',
    'format' = 'json'
);

INSERT INTO shifted
SELECT `user`, ts, window_start, window_end
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '13' SECOND))
WHERE action = 'add' AND amount < 60;
