-- Set operations over a table of orders, with order and limit.
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


SELECT customer, item FROM orders WHERE store = 1 INTERSECT SELECT customer, item FROM orders WHERE store = 2 ORDER BY customer, item LIMIT 10;
SELECT due FROM orders WHERE express EXCEPT SELECT due FROM orders WHERE NOT express ORDER BY due;
SELECT customer FROM orders UNION SELECT item FROM orders ORDER BY customer;
SELECT quantity FROM orders WHERE store = 1 EXCEPT ALL SELECT quantity FROM orders WHERE store = 3 ORDER BY quantity;
SELECT quantity, store, COUNT(*) FROM (SELECT quantity, store FROM orders WHERE id < 200 INTERSECT ALL SELECT quantity, store FROM orders WHERE id >= 200) GROUP BY quantity, store ORDER BY quantity, store;
