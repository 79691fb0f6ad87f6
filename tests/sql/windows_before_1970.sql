-- Windows over times before 1970, that begin below zero.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE numbers (
    id INT,
    t TINYINT,
    s SMALLINT,
    i INT,
    b BIGINT,
    f FLOAT,
    d DOUBLE,
    `dec` DECIMAL(10, 2),
    txt STRING,
    ts AS TO_TIMESTAMP_LTZ(id * 1000, 3),
    WATERMARK FOR ts AS ts
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/numbers.json',
    'format' = 'json'
);

CREATE TEMPORARY VIEW early AS
SELECT id, i, TO_TIMESTAMP_LTZ(id * 1000 - 15000, 3) AS happened FROM numbers;

SELECT id, happened, CAST(happened AS STRING), FLOOR(happened TO MINUTE), CEIL(happened TO MINUTE) FROM early WHERE id < 6;

CREATE TABLE aged (
    id INT,
    i INT,
    before AS TO_TIMESTAMP_LTZ(id * 1000 - 15000, 3),
    WATERMARK FOR before AS before - INTERVAL '1' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/numbers.json',
    'format' = 'json'
);

SELECT window_start, window_end, COUNT(*), MIN(id), SUM(id)
FROM TABLE(TUMBLE(TABLE aged, DESCRIPTOR(before), INTERVAL '4' SECOND))
GROUP BY window_start, window_end;

SELECT window_start, window_end, COUNT(*)
FROM TABLE(HOP(TABLE aged, DESCRIPTOR(before), INTERVAL '3' SECOND, INTERVAL '6' SECOND))
GROUP BY window_start, window_end;

SELECT window_start, window_end, MAX(id)
FROM TABLE(CUMULATE(TABLE aged, DESCRIPTOR(before), INTERVAL '2' SECOND, INTERVAL '8' SECOND))
GROUP BY window_start, window_end;

SELECT window_start, window_end, COUNT(*)
FROM TABLE(SESSION(TABLE aged, DESCRIPTOR(before), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
