-- Aggregates of all rows: one row, also of none.
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

SELECT COUNT(*), COUNT(customer), COUNT(DISTINCT customer), SUM(quantity), AVG(quantity), SUM(price), MIN(item), MAX(due)
FROM orders;
SELECT COUNT(*), COUNT(customer), COUNT(DISTINCT customer), SUM(quantity), AVG(quantity), SUM(price), MIN(item), MAX(due)
FROM orders WHERE id < 0;
SELECT SUM(quantity) + 1, COALESCE(SUM(price), 0), 'constant' FROM orders WHERE id < 0;
SELECT COUNT(*) FROM orders WHERE id < 0 HAVING COUNT(*) > 0;
SELECT COUNT(*) FROM orders WHERE id < 0 HAVING COUNT(*) = 0;
SELECT MAX(price) - MIN(price) AS spread FROM orders HAVING COUNT(*) > 1;
SELECT COUNT(*) FROM (SELECT DISTINCT store FROM orders);
SELECT SUM(n), MAX(n), COUNT(*) FROM (SELECT customer, COUNT(*) AS n FROM orders GROUP BY customer);
SELECT STDDEV_POP(quantity) > 0, VAR_SAMP(quantity) IS NULL FROM orders WHERE id = 1;
