-- No rows: groups, order, limits and sets of nothing.
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

CREATE VIEW nothing AS SELECT * FROM orders WHERE id < 0;
CREATE TABLE groups_of_none (store INT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = '${out}/groups_of_none', 'format' = 'json');
CREATE TABLE sum_of_none (n BIGINT, q INT) WITH ('connector' = 'filesystem', 'path' = '${out}/sum_of_none', 'format' = 'json');

INSERT INTO groups_of_none SELECT store, COUNT(*) FROM nothing GROUP BY store;
INSERT INTO sum_of_none SELECT COUNT(*), SUM(quantity) FROM nothing;
SELECT id FROM nothing ORDER BY id LIMIT 3;
SELECT DISTINCT customer FROM nothing;
SELECT id FROM nothing LIMIT 3 OFFSET 2;
SELECT 'sets', store, customer, COUNT(*) FROM nothing GROUP BY GROUPING SETS ((store), (customer), ());
SELECT 'cube', store, COUNT(*) FROM nothing GROUP BY CUBE (store);
SELECT 'all', COUNT(*) FROM (SELECT id FROM nothing ORDER BY id LIMIT 10);
