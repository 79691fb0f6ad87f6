-- Columns of parquet files are found by their names: other orders, some of them, and such that files do not have.
SET 'table.dml-sync' = 'true';

CREATE TABLE files (
    id INT,
    name STRING,
    price DECIMAL(10, 2),
    tags ARRAY<STRING>,
    placed TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/all',
    'format' = 'parquet',
    'parquet.compression' = 'UNCOMPRESSED',
    'parquet.enable.dictionary' = 'false'
);

INSERT INTO files VALUES
    (1, 'tea', 1.50, ARRAY['hot', 'wet'], TIMESTAMP '2024-01-01 00:00:00'),
    (2, 'ham', 2.25, ARRAY['cold'], TIMESTAMP '2024-01-01 00:00:30'),
    (3, CAST(NULL AS STRING), CAST(NULL AS DECIMAL(10, 2)), CAST(NULL AS ARRAY<STRING>), TIMESTAMP '2024-01-01 00:01:00'),
    (4, 'tea', 4.00, ARRAY['hot'], TIMESTAMP '2024-01-01 00:01:59.999');

CREATE TABLE other (
    placed TIMESTAMP(3),
    extra STRING,
    price DECIMAL(10, 2),
    name STRING,
    WATERMARK FOR placed AS placed - INTERVAL '1' HOUR
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/all',
    'format' = 'parquet'
);

CREATE TABLE back (
    name STRING,
    extra STRING,
    price DECIMAL(10, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back SELECT name, extra, price * 2 FROM other WHERE name IS NULL OR name <> 'ham';

CREATE TABLE totals (
    window_start TIMESTAMP(3),
    n BIGINT,
    names BIGINT,
    total DECIMAL(38, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/totals',
    'format' = 'json'
);

INSERT INTO totals
SELECT window_start, COUNT(*), COUNT(name), SUM(price)
FROM TABLE(TUMBLE(TABLE other, DESCRIPTOR(placed), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;

-- Only how many there are.
CREATE TABLE counted (
    x INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/counted',
    'format' = 'csv'
);

INSERT INTO counted SELECT 1 FROM files;
