-- GROUPING SETS, ROLLUP and CUBE without windows.
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

SELECT store, customer, COUNT(*), SUM(price), GROUPING(store) AS g, GROUPING_ID(store, customer) AS gid
FROM orders GROUP BY GROUPING SETS ((store, customer), (store), ());
SELECT 'rollup', store, express, COUNT(*) FROM orders GROUP BY ROLLUP (store, express);
SELECT 'cube', store, express, COUNT(*), AVG(quantity) FROM orders GROUP BY CUBE (store, express) HAVING COUNT(*) > 4;
SELECT 'mixed', item, store, COUNT(*) FROM orders GROUP BY item, ROLLUP (store);
