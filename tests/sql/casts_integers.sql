-- Narrowing casts of integers wrap; BOOLEAN and integers; integers to text and to decimals.
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

CREATE TABLE casts (
    id INT,
    b_int INT,
    b_smallint SMALLINT,
    b_tinyint TINYINT,
    i_tinyint TINYINT,
    i_smallint SMALLINT,
    s_tinyint TINYINT,
    t_bigint BIGINT,
    i_boolean BOOLEAN,
    boolean_int INT,
    boolean_string STRING,
    i_string STRING,
    t_varchar_2 VARCHAR(2),
    t_char_6 CHAR(6),
    i_decimal DECIMAL(12, 2),
    i_decimal_narrow DECIMAL(5, 0),
    b_decimal DECIMAL(19, 0),
    b_try DECIMAL(6, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/casts',
    'format' = 'json'
);

INSERT INTO casts
SELECT
    id,
    CAST(b AS INT) AS b_int,
    CAST(b AS SMALLINT) AS b_smallint,
    CAST(b AS TINYINT) AS b_tinyint,
    CAST(i AS TINYINT) AS i_tinyint,
    CAST(i AS SMALLINT) AS i_smallint,
    CAST(s AS TINYINT) AS s_tinyint,
    CAST(t AS BIGINT) AS t_bigint,
    CAST(i AS BOOLEAN) AS i_boolean,
    CAST(i > 0 AS INT) AS boolean_int,
    CAST(i > 0 AS STRING) AS boolean_string,
    CAST(i AS STRING) AS i_string,
    CAST(t AS VARCHAR(2)) AS t_varchar_2,
    CAST(t AS CHAR(6)) AS t_char_6,
    CAST(i AS DECIMAL(12, 2)) AS i_decimal,
    CAST(i AS DECIMAL(5, 0)) AS i_decimal_narrow,
    CAST(b AS DECIMAL(19, 0)) AS b_decimal,
    TRY_CAST(b AS DECIMAL(6, 2)) AS b_try
FROM numbers;
