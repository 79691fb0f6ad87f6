-- parallelism: 1
-- Rows exactly on the bounds of windows, before 1970, far apart (empty windows are never emitted).
-- The watermark is made before the view's filter: the row of the year 9999 makes all rows behind it late.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE times (
    id INT,
    d DATE,
    ts TIMESTAMP(3),
    ms BIGINT,
    at_time AS COALESCE(ts, TIMESTAMP '2000-01-01 00:29:59.999'),
    WATERMARK FOR at_time AS TIMESTAMPADD(YEAR, -150, at_time)
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/times.json',
    'format' = 'json'
);

CREATE TEMPORARY VIEW some_times AS SELECT * FROM times WHERE id <> 9;

CREATE TABLE years_apart (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    ms BIGINT,
    d DATE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/years_apart',
    'format' = 'json'
);

INSERT INTO years_apart
SELECT window_start, window_end, COUNT(*) AS n, MAX(ms) AS ms, MIN(d) AS d
FROM TABLE(TUMBLE(TABLE some_times, DESCRIPTOR(at_time), INTERVAL '30' MINUTE))
GROUP BY window_start, window_end;
