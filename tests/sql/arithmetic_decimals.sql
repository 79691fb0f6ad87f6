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

CREATE TABLE plus_minus (
    id INT,
    twice DECIMAL(11, 2),
    plus_int DECIMAL(13, 2),
    minus_from_bigint DECIMAL(22, 2),
    plus_eighth DECIMAL(12, 3),
    wide_sum DECIMAL(38, 6),
    narrowed DECIMAL(5, 3),
    negated DECIMAL(10, 2),
    minus_1 DECIMAL(13, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/plus_minus',
    'format' = 'json'
);

INSERT INTO plus_minus
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

CREATE TABLE times (
    id INT,
    square DECIMAL(21, 4),
    times_int DECIMAL(21, 2),
    wide_square DECIMAL(38, 17),
    overflowing DECIMAL(38, 4),
    times_literal DECIMAL(13, 3),
    d38_ten DECIMAL(38, 2),
    literal_bigint DECIMAL(24, 3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/times',
    'format' = 'json'
);

INSERT INTO times
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

CREATE TABLE divided (
    id INT,
    third DECIMAL(21, 13),
    seventh DECIMAL(15, 6),
    reciprocal DECIMAL(23, 11),
    wide_over DECIMAL(33, 21),
    wider_over DECIMAL(38, 6),
    bigint_over DECIMAL(27, 6),
    rem_3 DECIMAL(10, 2),
    rem_7 DECIMAL(3, 2),
    fraction DECIMAL(10, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/divided',
    'format' = 'json'
);

INSERT INTO divided
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

CREATE TABLE rounding (
    id INT,
    round_1 DECIMAL(10, 1),
    round_0 DECIMAL(9, 0),
    round_tens DECIMAL(9, 0),
    truncate_1 DECIMAL(10, 1),
    truncate_0 DECIMAL(9, 0),
    floored DECIMAL(10, 0),
    ceiled DECIMAL(10, 0),
    absolute DECIMAL(10, 2),
    signed DECIMAL(10, 2),
    cast_1 DECIMAL(10, 1),
    cast_narrow DECIMAL(4, 2),
    cast_int INT,
    cast_bigint BIGINT,
    cast_tinyint TINYINT,
    cast_double DOUBLE,
    cast_string STRING,
    tiny_string STRING,
    cast_boolean BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/rounding',
    'format' = 'json'
);

INSERT INTO rounding
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
