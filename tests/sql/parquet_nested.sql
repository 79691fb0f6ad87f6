-- Arrays, maps and rows in parquet, empty ones and NULLs at every level.
SET 'table.dml-sync' = 'true';

CREATE TABLE files (
    id INT,
    a ARRAY<INT>,
    m MAP<STRING, BIGINT>,
    r ROW<x INT, y STRING>,
    aa ARRAY<ARRAY<STRING>>,
    ar ARRAY<ROW<k STRING, d DECIMAL(6, 2)>>,
    rm ROW<m MAP<STRING, DOUBLE>, a ARRAY<DATE>>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/nested',
    'format' = 'parquet',
    'parquet.compression' = 'GZIP'
);

CREATE TABLE source (
    id INT,
    a ARRAY<INT>,
    m MAP<STRING, BIGINT>,
    r ROW<x INT, y STRING>,
    aa ARRAY<ARRAY<STRING>>,
    ar ARRAY<ROW<k STRING, d DECIMAL(6, 2)>>,
    rm ROW<m MAP<STRING, DOUBLE>, a ARRAY<DATE>>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/formats_nested.json',
    'format' = 'json'
);

INSERT INTO files SELECT * FROM source;

CREATE TABLE back WITH ('path' = '${out}/back') LIKE source;

INSERT INTO back SELECT * FROM files;
