-- Files of avro that Flink has written: its own schema, packed by snappy and deflate.
SET 'table.dml-sync' = 'true';

CREATE TABLE files (
    id INT,
    b BOOLEAN,
    i1 TINYINT,
    i2 SMALLINT,
    i8 BIGINT,
    f FLOAT,
    g DOUBLE,
    d1 DECIMAL(5, 2),
    d2 DECIMAL(18, 4),
    d3 DECIMAL(38, 10),
    c CHAR(3),
    v VARCHAR(10),
    s STRING,
    x BYTES,
    dt DATE,
    t TIME(3),
    ts TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/flink_types.avro',
    'format' = 'avro'
);

CREATE TABLE back (
    id INT,
    b BOOLEAN,
    i1 TINYINT,
    i2 SMALLINT,
    i8 BIGINT,
    f FLOAT,
    g DOUBLE,
    d1 DECIMAL(5, 2),
    d2 DECIMAL(18, 4),
    d3 DECIMAL(38, 10),
    c STRING,
    v STRING,
    s STRING,
    x BYTES,
    dt DATE,
    t TIME(3),
    ts TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back SELECT id, b, i1, i2, i8, f, g, d1, d2, d3, '<' || c || '>', v, s, x, dt, t, ts FROM files;

CREATE TABLE nested (
    id INT,
    a ARRAY<INT>,
    m MAP<STRING, BIGINT>,
    r ROW<x INT, y STRING>,
    aa ARRAY<ARRAY<STRING>>,
    ar ARRAY<ROW<k STRING, d DECIMAL(6, 2)>>,
    rm ROW<m MAP<STRING, DOUBLE>, a ARRAY<DATE>>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/flink_nested.avro',
    'format' = 'avro'
);

CREATE TABLE nested_back (
    id INT,
    a ARRAY<INT>,
    m MAP<STRING, BIGINT>,
    r ROW<x INT, y STRING>,
    aa ARRAY<ARRAY<STRING>>,
    ar ARRAY<ROW<k STRING, d DECIMAL(6, 2)>>,
    rm ROW<m MAP<STRING, DOUBLE>, a ARRAY<DATE>>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/nested_back',
    'format' = 'json'
);

INSERT INTO nested_back SELECT * FROM nested;
