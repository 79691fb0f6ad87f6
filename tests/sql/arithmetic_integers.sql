-- Integer arithmetic: results keep the wider operand's type and wrap, division truncates, MOD takes
-- the sign of the dividend, unary minus of the smallest value wraps.
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

CREATE TABLE wrapping (
    id INT,
    t_plus_t TINYINT,
    t_twice TINYINT,
    t_minus_s SMALLINT,
    s_square SMALLINT,
    i_plus_1 INT,
    i_square INT,
    i_plus_b BIGINT,
    b_twice BIGINT,
    b_minus_1 BIGINT,
    minus_t TINYINT,
    minus_i INT,
    minus_b BIGINT,
    t_plus_int INT,
    mixed INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/wrapping',
    'format' = 'json'
);

INSERT INTO wrapping
SELECT
    id,
    t + t AS t_plus_t,
    t * CAST(2 AS TINYINT) AS t_twice,
    t - s AS t_minus_s,
    s * s AS s_square,
    i + 1 AS i_plus_1,
    i * i AS i_square,
    i + b AS i_plus_b,
    b * 2 AS b_twice,
    b - 1 AS b_minus_1,
    -t AS minus_t,
    -i AS minus_i,
    -b AS minus_b,
    t + 100 AS t_plus_int,
    s + t * i AS mixed
FROM numbers;

CREATE TABLE dividing (
    id INT,
    i_div_7 INT,
    b_div_1000 BIGINT,
    t_div_3 TINYINT,
    minus_seven_halves INT,
    i_rem_7 INT,
    b_mod_10 INT,
    t_mod_5 TINYINT,
    s_mod_t TINYINT,
    b_div_s BIGINT,
    exact DECIMAL(24, 12)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/dividing',
    'format' = 'json'
);

INSERT INTO dividing
SELECT
    id,
    i / 7 AS i_div_7,
    b / 1000 AS b_div_1000,
    t / CAST(3 AS TINYINT) AS t_div_3,
    -7 / 2 AS minus_seven_halves,
    i % 7 AS i_rem_7,
    MOD(b, 10) AS b_mod_10,
    MOD(t, CAST(5 AS TINYINT)) AS t_mod_5,
    MOD(s, t) AS s_mod_t,
    b / s AS b_div_s,
    1.0 * i / 4 AS exact
FROM numbers WHERE s <> 0 AND t <> 0;

CREATE TABLE comparing (
    id INT,
    t_lt_s BOOLEAN,
    i_eq_b BOOLEAN,
    both_positive BOOLEAN,
    i_ne_d BOOLEAN,
    b_gt_f BOOLEAN,
    dec_eq_i BOOLEAN,
    between_t_s BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/comparing',
    'format' = 'json'
);

INSERT INTO comparing
SELECT
    id,
    t < s AS t_lt_s,
    i = b AS i_eq_b,
    t >= 0 AND s >= 0 AS both_positive,
    i <> d AS i_ne_d,
    b > f AS b_gt_f,
    `dec` = i AS dec_eq_i,
    d BETWEEN t AND s AS between_t_s
FROM numbers;
