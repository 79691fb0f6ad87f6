-- Partition columns of every type, as directories are named by them.
SET 'table.dml-sync' = 'true';
SET 'table.local-time-zone' = 'Asia/Tokyo';

CREATE TABLE facts (
    id INT,
    b BOOLEAN,
    i TINYINT,
    l BIGINT,
    c CHAR(3),
    d DATE,
    t TIME(0),
    ts TIMESTAMP(3),
    ltz TIMESTAMP_LTZ(3),
    m DECIMAL(10, 3)
) PARTITIONED BY (b, i, l, c, d, t, ts, ltz, m) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/facts',
    'format' = 'json'
);

INSERT INTO facts VALUES
    (1, TRUE, CAST(-128 AS TINYINT), 9223372036854775807, CAST('abc' AS CHAR(3)), DATE '2024-02-29', TIME '23:59:59', TIMESTAMP '2024-02-29 23:59:59.123', TO_TIMESTAMP_LTZ(1709251199123, 3), 12.340),
    (2, FALSE, CAST(0 AS TINYINT), -1, CAST('x' AS CHAR(3)), DATE '1969-12-31', TIME '00:00:00', TIMESTAMP '1969-12-31 23:59:59.9', TO_TIMESTAMP_LTZ(-1000, 3), -0.001);

CREATE TABLE read_back (
    id INT,
    b BOOLEAN,
    i TINYINT,
    s SMALLINT,
    l BIGINT,
    c CHAR(3),
    f FLOAT,
    g DOUBLE
) PARTITIONED BY (b, i, s, l, c, f, g) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/read_back',
    'format' = 'json'
);

INSERT INTO read_back VALUES
    (1, TRUE, CAST(-128 AS TINYINT), CAST(5 AS SMALLINT), 9223372036854775807, CAST('abc' AS CHAR(3)), CAST(1.5 AS FLOAT), 1e10),
    (2, FALSE, CAST(0 AS TINYINT), CAST(-5 AS SMALLINT), -1, CAST('x' AS CHAR(3)), CAST(-0.1 AS FLOAT), 1e-7);

CREATE TABLE back (
    id INT,
    b BOOLEAN,
    i TINYINT,
    s SMALLINT,
    l BIGINT,
    c STRING,
    f FLOAT,
    g DOUBLE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back SELECT id, NOT b, i, s, l, '<' || c || '>', f, g FROM read_back;
