-- GROUP BY without windows: NULL is a group, sums and averages keep their types, HAVING, DISTINCT, FILTER.
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

CREATE TABLE by_customer (
    customer STRING, orders BIGINT, items BIGINT, quantity INT, mean_quantity INT, paid DECIMAL(38, 2),
    mean_price DECIMAL(38, 6), cheapest DECIMAL(10, 2), dearest DECIMAL(10, 2), first_due DATE, last_placed TIMESTAMP(3)
) WITH ('connector' = 'filesystem', 'path' = '${out}/by_customer', 'format' = 'json');

INSERT INTO by_customer
SELECT customer, COUNT(*), COUNT(DISTINCT item), SUM(quantity), AVG(quantity), SUM(price), AVG(price),
    MIN(price), MAX(price), MIN(due), MAX(placed)
FROM orders GROUP BY customer;

SELECT store, express, COUNT(*) AS n, COUNT(express), SUM(price * quantity), SUM(discount)
FROM orders GROUP BY store, express HAVING COUNT(*) > 2;

SELECT item, COUNT(*) FILTER (WHERE quantity > 3) AS many, SUM(price) FILTER (WHERE express) AS express_sum,
    SUM(DISTINCT quantity) AS quantities, COUNT(DISTINCT customer) FILTER (WHERE store = 1) AS customers_1
FROM orders WHERE item IS NOT NULL GROUP BY item;

SELECT EXTRACT(MONTH FROM placed) AS m, UPPER(item) || '!' AS i, COUNT(*)
FROM orders GROUP BY EXTRACT(MONTH FROM placed), UPPER(item) HAVING MAX(price) > 100 AND COUNT(*) > 1;

-- Keys only.
SELECT store FROM orders GROUP BY store;
SELECT store + 1 FROM orders GROUP BY store, customer HAVING customer IS NULL;
