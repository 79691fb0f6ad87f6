-- FLOAT and DOUBLE: arithmetic, widening, division by zero, infinities and NaN, and the texts of all
-- of them, both by CAST and in json.
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

CREATE TABLE texts (
    id INT,
    f FLOAT,
    d DOUBLE,
    f_text STRING,
    d_text STRING,
    f_wide DOUBLE,
    d_narrow FLOAT,
    i_float FLOAT,
    b_double DOUBLE,
    b_float FLOAT,
    b_double_text STRING,
    concatenated STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/texts',
    'format' = 'json'
);

INSERT INTO texts
SELECT
    id,
    f AS f,
    d AS d,
    CAST(f AS STRING) AS f_text,
    CAST(d AS STRING) AS d_text,
    CAST(f AS DOUBLE) AS f_wide,
    CAST(d AS FLOAT) AS d_narrow,
    CAST(i AS FLOAT) AS i_float,
    CAST(b AS DOUBLE) AS b_double,
    CAST(b AS FLOAT) AS b_float,
    CAST(CAST(b AS DOUBLE) AS STRING) AS b_double_text,
    'd=' || CAST(d AS STRING) AS concatenated
FROM numbers;

CREATE TABLE computed (
    id INT,
    f_plus_f FLOAT,
    d_times_3 DOUBLE,
    f_plus_d FLOAT,
    d_third DOUBLE,
    f_third FLOAT,
    i_third DOUBLE,
    d_plus_i DOUBLE,
    d_times_dec DOUBLE,
    minus_d DOUBLE,
    d_minus_f DOUBLE,
    f_plus_dec DOUBLE,
    i_plus_f FLOAT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/computed',
    'format' = 'json'
);

INSERT INTO computed
SELECT
    id,
    f + f AS f_plus_f,
    d * 3 AS d_times_3,
    f + d AS f_plus_d,
    d / 3 AS d_third,
    f / 3 AS f_third,
    i / CAST(3 AS DOUBLE) AS i_third,
    d + i AS d_plus_i,
    d * `dec` AS d_times_dec,
    -d AS minus_d,
    d - f AS d_minus_f,
    f + `dec` AS f_plus_dec,
    i + f AS i_plus_f
FROM numbers WHERE ABS(d) < 1e300;

CREATE TABLE special (
    id INT,
    over_zero STRING,
    root STRING,
    logarithm STRING,
    huge STRING,
    cubed STRING,
    over_zero_gt_1 BOOLEAN,
    root_eq_root BOOLEAN,
    root_gt_0 BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/special',
    'format' = 'json'
);

INSERT INTO special
SELECT
    id,
    CAST(d / 0e0 AS STRING) AS over_zero,
    CAST(SQRT(d) AS STRING) AS root,
    CAST(LN(d) AS STRING) AS logarithm,
    CAST(d * 1e300 AS STRING) AS huge,
    CAST(POWER(d, 3) AS STRING) AS cubed,
    d / 0e0 > 1 AS over_zero_gt_1,
    SQRT(d) = SQRT(d) AS root_eq_root,
    SQRT(d) > 0 AS root_gt_0
FROM numbers;

CREATE TABLE to_integers (
    id INT,
    d_int INT,
    d_bigint BIGINT,
    d_tinyint TINYINT,
    d_smallint SMALLINT,
    f_int INT,
    f_bigint BIGINT,
    d_decimal DECIMAL(10, 2),
    d_wide_decimal DECIMAL(38, 18),
    f_decimal DECIMAL(10, 4),
    d_boolean BOOLEAN,
    d_round DOUBLE,
    d_round_0 DOUBLE,
    d_truncate DOUBLE,
    d_floor DOUBLE,
    d_ceil DOUBLE,
    f_round FLOAT,
    f_floor FLOAT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/to_integers',
    'format' = 'json'
);

INSERT INTO to_integers
SELECT
    id,
    CAST(d AS INT) AS d_int,
    CAST(d AS BIGINT) AS d_bigint,
    CAST(d AS TINYINT) AS d_tinyint,
    CAST(d AS SMALLINT) AS d_smallint,
    CAST(f AS INT) AS f_int,
    CAST(f AS BIGINT) AS f_bigint,
    CAST(d AS DECIMAL(10, 2)) AS d_decimal,
    CAST(d AS DECIMAL(38, 18)) AS d_wide_decimal,
    CAST(f AS DECIMAL(10, 4)) AS f_decimal,
    CAST(d AS BOOLEAN) AS d_boolean,
    ROUND(d, 2) AS d_round,
    ROUND(d) AS d_round_0,
    IF(ABS(d) < 1e15, TRUNCATE(d, 1), CAST(NULL AS DOUBLE)) AS d_truncate,
    FLOOR(d) AS d_floor,
    CEIL(d) AS d_ceil,
    ROUND(f, 1) AS f_round,
    FLOOR(f) AS f_floor
FROM numbers;
