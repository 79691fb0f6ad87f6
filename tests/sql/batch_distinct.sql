-- SELECT DISTINCT: NULLs are one value.
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

SELECT DISTINCT customer FROM orders;
SELECT DISTINCT store, express FROM orders;
SELECT DISTINCT quantity > 3, item IS NULL FROM orders;
SELECT DISTINCT 1 FROM orders;
SELECT DISTINCT COUNT(*) > 5 FROM orders GROUP BY customer;
SELECT DISTINCT discount FROM orders WHERE discount < 20;
SELECT COUNT(*) FROM (SELECT DISTINCT customer, item, store FROM orders);
SELECT ALL store FROM orders WHERE id < 4;
