-- ORDER BY positions, names of the SELECT list, expressions, and what is not selected.
-- ordered
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE orders (
    id BIGINT,
    customer STRING,
    item STRING,
    quantity INT,
    price DECIMAL(10, 2),
    discount DECIMAL(6, 3),
    express BOOLEAN,
    placed TIMESTAMP(3),
    due DATE,
    store INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

SELECT id, price * quantity AS total FROM orders WHERE id <= 20 ORDER BY 2, 1;
SELECT id, price * quantity AS total FROM orders WHERE id <= 20 ORDER BY total DESC, id;
SELECT id AS price, price AS id FROM orders WHERE id <= 9 ORDER BY price;
SELECT id FROM orders WHERE id <= 20 ORDER BY price * quantity, id;
SELECT id, -price AS p FROM orders WHERE id <= 20 ORDER BY p + 1, id;
SELECT customer, COUNT(*) AS n FROM orders GROUP BY customer ORDER BY n DESC, customer;
SELECT customer FROM orders GROUP BY customer ORDER BY SUM(price) DESC, customer;
SELECT store, SUM(quantity) FROM orders GROUP BY store ORDER BY 2 DESC, 1;
SELECT DISTINCT item FROM orders ORDER BY item DESC;
SELECT DISTINCT item, store FROM orders WHERE id < 12 ORDER BY store, 1;
SELECT o.id FROM orders AS o WHERE o.id < 8 ORDER BY o.due, o.id;
SELECT * FROM (SELECT id, item FROM orders WHERE id < 4 UNION ALL SELECT id, 'x' FROM orders WHERE id < 3) ORDER BY id, item;
SELECT id, item FROM orders WHERE id < 4 UNION ALL SELECT id + 100, 'y' FROM orders WHERE id < 3 ORDER BY id DESC;
SELECT * FROM (VALUES (2, 'b'), (1, 'c'), (3, 'a'), (CAST(NULL AS INT), 'd')) AS t(n, s) ORDER BY n;
