-- Every type through parquet files and back: edges, NULLs, nested values.
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
    ts TIMESTAMP(3),
    ts6 TIMESTAMP(6),
    ltz TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/types',
    'format' = 'parquet'
);

INSERT INTO files VALUES
    (1, TRUE, CAST(-128 AS TINYINT), CAST(32767 AS SMALLINT), 9223372036854775807, CAST(1.5 AS FLOAT), 1e300,
     999.99, 12345678901234.5678, CAST('1234567890123456789012345678.0123456789' AS DECIMAL(38, 10)),
     CAST('abc' AS CHAR(3)), 'ten', 'Ångström ☂ 𝒳', x'00ff10', DATE '2024-02-29', TIME '23:59:59.123',
     TIMESTAMP '2024-02-29 23:59:59.123', TIMESTAMP '2024-02-29 23:59:59.123456', TO_TIMESTAMP_LTZ(1709251199123, 3)),
    (2, FALSE, CAST(127 AS TINYINT), CAST(-32768 AS SMALLINT), -9223372036854775807, CAST(-0.1 AS FLOAT), -1e-300,
     -999.99, -0.0001, -0.0000000001,
     CAST('x' AS CHAR(3)), '', '', x'', DATE '1969-12-31', TIME '00:00:00',
     TIMESTAMP '1969-12-31 23:59:59', TIMESTAMP '1900-01-01 00:00:00.000001', TO_TIMESTAMP_LTZ(-1000, 3)),
    (3, CAST(NULL AS BOOLEAN), CAST(NULL AS TINYINT), CAST(NULL AS SMALLINT), CAST(NULL AS BIGINT), CAST(NULL AS FLOAT), CAST(NULL AS DOUBLE),
     CAST(NULL AS DECIMAL(5, 2)), CAST(NULL AS DECIMAL(18, 4)), CAST(NULL AS DECIMAL(38, 10)),
     CAST(NULL AS CHAR(3)), CAST(NULL AS VARCHAR(10)), CAST(NULL AS STRING), CAST(NULL AS BYTES), CAST(NULL AS DATE), CAST(NULL AS TIME(3)),
     CAST(NULL AS TIMESTAMP(3)), CAST(NULL AS TIMESTAMP(6)), CAST(NULL AS TIMESTAMP_LTZ(3)));

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
    ts TIMESTAMP(3),
    ts6 TIMESTAMP(6),
    ltz TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back SELECT id, b, i1, i2, i8, f, g, d1, d2, d3, '<' || c || '>', v, s, x, dt, t, ts, ts6, ltz FROM files;
