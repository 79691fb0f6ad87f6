-- parallelism: 1
-- Windows over ties and NULLs: rows of one time, keys that are NULL or empty, aggregates of nothing but NULLs.
CREATE TABLE events (
    k STRING,
    v INT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/ties.json',
    'format' = 'json'
);

CREATE TABLE sink (
    k STRING,
    window_start TIMESTAMP(3),
    n BIGINT,
    valued BIGINT,
    distinct_values BIGINT,
    total INT,
    least INT,
    most INT,
    mean INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sink',
    'format' = 'json'
);

INSERT INTO sink
SELECT k, window_start, COUNT(*), COUNT(v), COUNT(DISTINCT v), SUM(v), MIN(v), MAX(v), AVG(v)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY k, window_start, window_end;
