-- TRY_CAST of texts that may not be numbers, booleans or dates: NULL where CAST would fail.
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
    txt STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/numbers.json',
    'format' = 'json'
);

CREATE TABLE tried (
    id INT,
    txt STRING,
    to_tinyint TINYINT,
    to_smallint SMALLINT,
    to_int INT,
    to_bigint BIGINT,
    to_float STRING,
    to_double STRING,
    to_decimal DECIMAL(8, 2),
    to_small_decimal DECIMAL(3, 0),
    to_boolean BOOLEAN,
    to_date DATE,
    to_ts TIMESTAMP(3),
    to_char_3 CHAR(3),
    to_varchar_4 VARCHAR(4)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/tried',
    'format' = 'json'
);

INSERT INTO tried
SELECT
    id,
    txt,
    TRY_CAST(txt AS TINYINT) AS to_tinyint,
    TRY_CAST(txt AS SMALLINT) AS to_smallint,
    TRY_CAST(txt AS INT) AS to_int,
    TRY_CAST(txt AS BIGINT) AS to_bigint,
    CAST(TRY_CAST(txt AS FLOAT) AS STRING) AS to_float,
    CAST(TRY_CAST(txt AS DOUBLE) AS STRING) AS to_double,
    TRY_CAST(txt AS DECIMAL(8, 2)) AS to_decimal,
    TRY_CAST(txt AS DECIMAL(3, 0)) AS to_small_decimal,
    TRY_CAST(txt AS BOOLEAN) AS to_boolean,
    TRY_CAST(txt AS DATE) AS to_date,
    TRY_CAST(txt AS TIMESTAMP(3)) AS to_ts,
    CAST(txt AS CHAR(3)) AS to_char_3,
    CAST(txt AS VARCHAR(4)) AS to_varchar_4
FROM numbers;

CREATE TABLE texts (
    id INT,
    v STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/texts.json',
    'format' = 'json'
);

CREATE TABLE temporal (
    id INT,
    v STRING,
    as_boolean BOOLEAN,
    as_date DATE,
    as_time TIME(0),
    as_timestamp TIMESTAMP(3),
    as_ltz TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/temporal',
    'format' = 'json'
);

INSERT INTO temporal
SELECT
    id,
    v,
    TRY_CAST(v AS BOOLEAN) AS as_boolean,
    TRY_CAST(v AS DATE) AS as_date,
    TRY_CAST(v AS TIME) AS as_time,
    TRY_CAST(v AS TIMESTAMP(3)) AS as_timestamp,
    TRY_CAST(v AS TIMESTAMP_LTZ(3)) AS as_ltz
FROM texts;
