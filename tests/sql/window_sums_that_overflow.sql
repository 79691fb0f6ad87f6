-- Sums of integers wrap, sums of decimals that do not fit are NULL, averages keep the type.
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

SELECT window_start, SUM(t), SUM(s), SUM(i), SUM(b), SUM(`dec`), AVG(t), AVG(b), AVG(`dec`)
FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;

SELECT window_end, SUM(CAST(i AS TINYINT)), SUM(b * 2), SUM(CAST(`dec` AS DECIMAL(38, 2)) * 1000000000), MIN(t + s), MAX(-b)
FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
