-- Aggregates of aggregates, unions and views, shared by several sinks.
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

CREATE VIEW totals AS SELECT customer, store, COUNT(*) AS n, SUM(price) AS paid FROM orders GROUP BY customer, store;
CREATE TABLE by_store (store INT, customers BIGINT, paid DECIMAL(38, 2))
WITH ('connector' = 'filesystem', 'path' = '${out}/by_store', 'format' = 'json');
CREATE TABLE by_n (n BIGINT, pairs BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${out}/by_n', 'format' = 'json');

EXECUTE STATEMENT SET BEGIN
INSERT INTO by_store SELECT store, COUNT(DISTINCT customer), SUM(paid) FROM totals GROUP BY store;
INSERT INTO by_n SELECT n, COUNT(*) FROM totals GROUP BY n;
END;

WITH named AS (
    SELECT customer AS name, price FROM orders WHERE store = 1
    UNION ALL
    SELECT item, price FROM orders WHERE store = 2
)
SELECT name, COUNT(*), SUM(price) FROM named GROUP BY name;
SELECT MAX(n), MIN(paid) FROM totals WHERE customer IS NOT NULL;
SELECT n, COUNT(*) FROM (SELECT MOD(id, 4) AS n FROM orders) AS t GROUP BY n HAVING n > 0;
SELECT k, SUM(v) FROM (VALUES ('a', 1), ('b', 2), ('a', 3), (CAST(NULL AS STRING), 4)) AS t(k, v) GROUP BY k;
