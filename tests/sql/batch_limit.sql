-- LIMIT, OFFSET and FETCH, behind ORDER BY and alone.
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

SELECT id, price FROM orders ORDER BY price DESC, id LIMIT 5;
SELECT id, price FROM orders ORDER BY price DESC, id LIMIT 5 OFFSET 3;
SELECT id FROM orders ORDER BY id DESC OFFSET 2 ROWS FETCH NEXT 3 ROWS ONLY;
SELECT id FROM orders ORDER BY id FETCH FIRST 1 ROW ONLY;
SELECT id FROM orders ORDER BY id LIMIT 0;
SELECT id FROM orders ORDER BY id LIMIT 5 OFFSET 100000;
SELECT COUNT(*) FROM (SELECT id FROM orders LIMIT 7);
SELECT COUNT(*) FROM (SELECT id FROM orders LIMIT 7 OFFSET 3);
SELECT COUNT(*) FROM (SELECT id FROM orders WHERE id < 5 LIMIT 7 OFFSET 2);
SELECT customer, COUNT(*) AS n FROM orders GROUP BY customer ORDER BY n DESC, customer LIMIT 3;
SELECT SUM(price) FROM (SELECT price FROM orders ORDER BY price, id LIMIT 10);
SELECT id FROM (SELECT id, price FROM orders ORDER BY price DESC, id LIMIT 10) ORDER BY id LIMIT 4;
WITH top AS (SELECT id, store FROM orders ORDER BY id LIMIT 20) SELECT store, COUNT(*) FROM top GROUP BY store ORDER BY store;
