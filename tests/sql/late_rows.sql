-- parallelism: 1
-- Rows behind the watermark: those whose window has passed are dropped, whether or not the window
-- ever fired; a row on the watermark of an open window counts. See `note` in late.json.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE readings (
    k STRING,
    ts TIMESTAMP(3),
    n INT,
    note STRING,
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/late.json',
    'format' = 'json'
);

CREATE TABLE tumbled (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    k STRING,
    n INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/tumbled',
    'format' = 'json'
);

CREATE TABLE tumbled_all (
    window_start TIMESTAMP(3),
    n INT,
    c BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/tumbled_all',
    'format' = 'json'
);

CREATE TABLE hopped (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hopped',
    'format' = 'json'
);

CREATE TABLE cumulated (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/cumulated',
    'format' = 'json'
);

CREATE TABLE sessions (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    k STRING,
    n INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sessions',
    'format' = 'json'
);

INSERT INTO tumbled
SELECT window_start, window_end, k, SUM(n)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECONDS))
GROUP BY k, window_start, window_end;

INSERT INTO tumbled_all
SELECT window_start, SUM(n), COUNT(*)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECONDS))
GROUP BY window_start, window_end;

INSERT INTO hopped
SELECT window_start, window_end, SUM(n)
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECONDS, INTERVAL '10' SECONDS))
GROUP BY window_start, window_end;

INSERT INTO cumulated
SELECT window_start, window_end, SUM(n)
FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECONDS, INTERVAL '20' SECONDS))
GROUP BY window_start, window_end;

INSERT INTO sessions
SELECT window_start, window_end, k, SUM(n)
FROM TABLE(SESSION(TABLE readings PARTITION BY k, DESCRIPTOR(ts), INTERVAL '7' SECONDS))
GROUP BY k, window_start, window_end;
