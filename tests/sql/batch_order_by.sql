-- ORDER BY: several keys, NULLs low or where they are put, ties broken by a last key.
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

SELECT customer, price, id FROM orders WHERE id <= 40 ORDER BY customer, price DESC, id;
SELECT customer, express, id FROM orders WHERE id <= 40 ORDER BY customer DESC, express, id DESC;
SELECT customer, express, id FROM orders WHERE id <= 40 ORDER BY customer NULLS LAST, express DESC NULLS FIRST, id;
SELECT due, store, id FROM orders WHERE id <= 40 ORDER BY due DESC, store NULLS LAST, id;
SELECT id FROM orders WHERE quantity > 3 AND id <= 40 ORDER BY placed, id;
