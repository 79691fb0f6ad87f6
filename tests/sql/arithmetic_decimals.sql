-- Decimal arithmetic: precision and scale of + - * / %, more than 38 digits lose scale, overflow is
-- NULL, rounding is half up.
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

CREATE TEMPORARY VIEW wide AS
SELECT id, `dec`, i, b, CAST(`dec` AS DECIMAL(38, 2)) AS d38, CAST(`dec` AS DECIMAL(20, 10)) AS d20,
       CAST(`dec` AS DECIMAL(5, 3)) AS d5
FROM numbers;

%INTO plus_minus
SELECT
    id,
    `dec` + `dec` AS twice,
    `dec` + i AS plus_int,
    b - `dec` AS minus_from_bigint,
    `dec` + 0.125 AS plus_eighth,
    d38 + d20 AS wide_sum,
    d5 AS narrowed,
    -`dec` AS negated,
    `dec` - 1 AS minus_1
FROM wide;

%INTO times
SELECT
    id,
    `dec` * `dec` AS square,
    `dec` * i AS times_int,
    d20 * d20 AS wide_square,
    d38 * d38 AS overflowing,
    `dec` * 1.5 AS times_literal,
    d38 * 10 AS d38_ten,
    0.908 * b AS literal_bigint
FROM wide;

%INTO divided
SELECT
    id,
    `dec` / 3 AS third,
    `dec` / CAST(7 AS DECIMAL(3, 1)) AS seventh,
    1 / `dec` AS reciprocal,
    d20 / `dec` AS wide_over,
    d38 / d20 AS wider_over,
    b / CAST(3 AS DECIMAL(5, 2)) AS bigint_over,
    MOD(`dec`, 3) AS rem_3,
    MOD(`dec`, 0.7) AS rem_7,
    `dec` % 1 AS fraction
FROM wide WHERE `dec` <> 0;

%INTO rounding
SELECT
    id,
    ROUND(`dec`, 1) AS round_1,
    ROUND(`dec`) AS round_0,
    ROUND(`dec`, -1) AS round_tens,
    TRUNCATE(`dec`, 1) AS truncate_1,
    TRUNCATE(`dec`) AS truncate_0,
    FLOOR(`dec`) AS floored,
    CEIL(`dec`) AS ceiled,
    ABS(`dec`) AS absolute,
    SIGN(`dec`) AS signed,
    CAST(`dec` AS DECIMAL(10, 1)) AS cast_1,
    CAST(`dec` AS DECIMAL(4, 2)) AS cast_narrow,
    CAST(`dec` AS INT) AS cast_int,
    CAST(`dec` AS BIGINT) AS cast_bigint,
    CAST(`dec` AS TINYINT) AS cast_tinyint,
    CAST(`dec` AS DOUBLE) AS cast_double,
    CAST(`dec` AS STRING) AS cast_string,
    CAST(`dec` * 0.00001 AS STRING) AS tiny_string,
    CAST(`dec` AS BOOLEAN) AS cast_boolean
FROM wide;
