-- Joins into tables, shared inputs, order and limits above and below.
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


CREATE VIEW spent AS SELECT customer, SUM(price) AS paid FROM orders GROUP BY customer;
CREATE TABLE shares (id BIGINT, customer STRING, price DECIMAL(10, 2), paid DECIMAL(38, 2))
WITH ('connector' = 'filesystem', 'path' = '${out}/shares', 'format' = 'json');
CREATE TABLE pairs (customer STRING, store INT, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${out}/pairs', 'format' = 'json');

EXECUTE STATEMENT SET BEGIN
INSERT INTO shares SELECT o.id, o.customer, o.price, s.paid FROM orders AS o LEFT JOIN spent AS s ON o.customer = s.customer WHERE o.id < 50;
INSERT INTO pairs SELECT s.customer, o.store, COUNT(*) FROM spent AS s JOIN orders AS o ON s.customer = o.customer GROUP BY s.customer, o.store;
END;

SELECT t.id, o.item FROM (SELECT id FROM orders ORDER BY price DESC, id LIMIT 8) AS t JOIN orders AS o ON o.id = t.id;
SELECT COUNT(*), SUM(a.quantity * b.quantity) FROM orders AS a, orders AS b WHERE a.store = b.store AND a.item = 'easel' AND b.item = 'bolt';
SELECT w.window_start, w.n, v.n
FROM (SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' HOUR)) GROUP BY window_start, window_end) AS w
JOIN (SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' HOUR)) WHERE store = 1 GROUP BY window_start, window_end) AS v
ON w.window_start = v.window_start;
