-- UNION ALL of differently typed branches, common table expressions, nested subqueries, VALUES, views of views.
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

CREATE TEMPORARY VIEW large_orders AS
SELECT id, customer, quantity * price AS total, store FROM orders WHERE quantity * price > 5000;

CREATE TEMPORARY VIEW large_known (order_id, buyer, amount) AS
SELECT id, customer, total FROM large_orders WHERE customer IS NOT NULL;

CREATE TABLE merged (
    kind VARCHAR(7),
    order_id INT,
    buyer STRING,
    amount DECIMAL(19, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/merged',
    'format' = 'json'
);

INSERT INTO merged
SELECT 'large' AS kind, order_id, buyer, amount FROM large_known
UNION ALL
SELECT 'cheap', id, customer, price FROM orders WHERE price < 50
UNION ALL
SELECT 'express', id, customer, CAST(NULL AS DECIMAL(8, 2)) FROM orders WHERE express AND quantity = 1
UNION ALL
SELECT 'fixed', n, who, a FROM (VALUES (1, 'zed', 1.5), (2, 'yan', 22.25)) AS t (n, who, a);

CREATE TABLE by_cte (
    id INT,
    customer STRING,
    doubled INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_cte',
    'format' = 'json'
);

INSERT INTO by_cte
WITH recent AS (
    SELECT * FROM orders WHERE placed >= TIMESTAMP '2024-02-29 00:00:00'
), named AS (
    SELECT id, UPPER(customer) AS customer, quantity, store FROM recent WHERE customer IS NOT NULL
)
SELECT a.id, a.customer, a.quantity * 2 AS doubled
FROM (SELECT * FROM named WHERE store IN (1, 3)) AS a
WHERE a.quantity > 8;

CREATE TABLE distinct_types (
    n BIGINT,
    v DOUBLE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/distinct_types',
    'format' = 'json'
);

INSERT INTO distinct_types
SELECT CAST(store AS INT) AS n, price AS v FROM orders WHERE id < 4
UNION ALL
SELECT id, discount FROM orders WHERE id BETWEEN 4 AND 7
UNION ALL
SELECT CAST(id AS BIGINT), quantity FROM orders WHERE id = 8;
