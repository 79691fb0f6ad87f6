-- INSERT: VALUES, columns in another order and left out, parentheses, WITH, EXECUTE, names of several parts.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT,
    customer STRING,
    item STRING,
    quantity INT,
    price DECIMAL(8, 2),
    express BOOLEAN,
    placed TIMESTAMP(3),
    store TINYINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE outcome (
    a INT,
    b STRING,
    c DECIMAL(6, 2),
    d BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/outcome',
    'format' = 'json'
);

INSERT INTO outcome VALUES (1, 'one', 1.5, TRUE), (2, CAST(NULL AS STRING), 2, FALSE);
INSERT INTO outcome (b, a) VALUES ('three', 3);
INSERT INTO outcome (d, c) SELECT express, price FROM orders WHERE id = 7;
INSERT INTO `default_database`.outcome (a, b, c, d) (SELECT id, item, price, express FROM orders WHERE id = 8);
INSERT INTO outcome WITH few AS (SELECT id, item FROM orders WHERE id = 9) SELECT id, item, CAST(NULL AS DECIMAL(6, 2)), TRUE FROM few;
EXECUTE INSERT INTO outcome (a) SELECT id FROM orders WHERE id = 10;
INSERT INTO outcome (VALUES (11, 'eleven', 11.11, FALSE));
INSERT INTO outcome SELECT * FROM (VALUES (12, 'twelve', 12.0, TRUE), (13, 'thirteen', 13.123, FALSE)) AS t (w, x, y, z) WHERE w > 12;
