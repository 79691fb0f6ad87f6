-- A top-level SELECT: what a client shows. Strings, decimals, nulls, timestamps, booleans, rows.
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

SELECT id, customer, item, price * quantity AS total, discount, express, placed, due
FROM orders WHERE id <= 30;

SELECT DISTINCT_STORE, placed_date
FROM (SELECT store AS DISTINCT_STORE, CAST(placed AS DATE) AS placed_date, quantity FROM orders) t
WHERE quantity = 12;
