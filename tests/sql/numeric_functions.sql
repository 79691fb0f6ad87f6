-- Numeric functions over integers, decimals and doubles and their result types.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT,
    customer STRING,
    item STRING,
    quantity INT,
    price DECIMAL(8, 2),
    discount DOUBLE,
    express BOOLEAN,
    placed TIMESTAMP(3),
    due DATE,
    store TINYINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TEMPORARY VIEW v AS
SELECT id, quantity - 6 AS q, CAST(quantity AS BIGINT) * 1000 - 3500 AS big, price - 500 AS p, discount - 7.25e0 AS x, store
FROM orders WHERE id <= 60;

CREATE TABLE signs (
    id INT,
    abs_q INT,
    abs_p DECIMAL(13, 2),
    abs_x DOUBLE,
    sign_q INT,
    sign_p DECIMAL(13, 2),
    sign_x DOUBLE,
    mod_q INT,
    mod_big INT,
    minus_p DECIMAL(13, 2),
    plus_q INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/signs',
    'format' = 'json'
);

INSERT INTO signs
SELECT
    id,
    ABS(q) AS abs_q,
    ABS(p) AS abs_p,
    ABS(x) AS abs_x,
    SIGN(q) AS sign_q,
    SIGN(p) AS sign_p,
    SIGN(x) AS sign_x,
    MOD(q, 4) AS mod_q,
    MOD(big, q * q + 1) AS mod_big,
    -p AS minus_p,
    +q AS plus_q
FROM v;

CREATE TABLE rounded (
    id INT,
    floor_x DOUBLE,
    ceil_x DOUBLE,
    ceiling_p DECIMAL(13, 0),
    floor_q INT,
    round_x_1 DOUBLE,
    round_x_tens DOUBLE,
    round_q_tens INT,
    round_big BIGINT,
    round_p_1 DECIMAL(13, 1),
    round_p_store DECIMAL(13, 2),
    truncate_x_1 DOUBLE,
    truncate_p_1 DECIMAL(13, 1),
    truncate_q INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/rounded',
    'format' = 'json'
);

INSERT INTO rounded
SELECT
    id,
    FLOOR(x) AS floor_x,
    CEIL(x) AS ceil_x,
    CEILING(p) AS ceiling_p,
    FLOOR(q) AS floor_q,
    ROUND(x, 1) AS round_x_1,
    ROUND(x, -1) AS round_x_tens,
    ROUND(q, -1) AS round_q_tens,
    ROUND(big, -3) AS round_big,
    ROUND(p, 1) AS round_p_1,
    ROUND(p, store) AS round_p_store,
    TRUNCATE(x, 1) AS truncate_x_1,
    TRUNCATE(p, 1) AS truncate_p_1,
    TRUNCATE(q, -1) AS truncate_q
FROM v;

CREATE TABLE transcendental (
    id INT,
    sqrt_x DOUBLE,
    sqrt_q DOUBLE,
    power_x DOUBLE,
    power_q DOUBLE,
    power_p DOUBLE,
    exp_q DOUBLE,
    ln_q DOUBLE,
    log10_p DOUBLE,
    log2_q DOUBLE,
    log_q_100 DOUBLE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/transcendental',
    'format' = 'json'
);

INSERT INTO transcendental
SELECT
    id,
    SQRT(ABS(x)) AS sqrt_x,
    SQRT(quantity) AS sqrt_q,
    POWER(x, 2) AS power_x,
    POWER(quantity, 3) AS power_q,
    POWER(price, 2) AS power_p,
    EXP(quantity) AS exp_q,
    LN(quantity) AS ln_q,
    LOG10(price) AS log10_p,
    LOG2(quantity) AS log2_q,
    LOG(quantity + 1, 100) AS log_q_100
FROM (SELECT id, quantity, price, discount - 7.25e0 AS x FROM orders WHERE id <= 40) AS t;
