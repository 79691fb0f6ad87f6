-- Join keys of every type, also of types that meet in a common one.
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

CREATE TABLE numbers (
    id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, `dec` DECIMAL(20, 6), txt STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/numbers.json',
    'format' = 'json'
);
CREATE VIEW few AS SELECT * FROM numbers WHERE id < 30;

SELECT a.id, b.id FROM few AS a JOIN few AS b ON a.t = b.i;
SELECT a.id, b.id FROM few AS a JOIN few AS b ON a.s = b.b WHERE a.id < b.id;
SELECT a.id, b.id FROM few AS a JOIN few AS b ON a.`dec` = b.i;
SELECT a.id, b.id FROM few AS a JOIN few AS b ON a.d = b.d WHERE a.id < 10;
SELECT a.id, b.id FROM few AS a JOIN few AS b ON a.i = b.d WHERE a.id < 10;
SELECT a.id, b.id FROM few AS a JOIN few AS b ON a.txt = b.txt;
SELECT a.due, COUNT(*) FROM orders AS a JOIN orders AS b ON a.due = b.due AND a.id < b.id GROUP BY a.due;
SELECT a.placed, b.id FROM orders AS a JOIN orders AS b ON a.placed = b.placed AND a.id < b.id;
SELECT a.express, COUNT(*) FROM orders AS a JOIN orders AS b ON a.express = b.express WHERE a.id < 20 AND b.id < 20 GROUP BY a.express;
SELECT a.price, a.id, b.id FROM orders AS a JOIN orders AS b ON a.price = b.price AND a.id < b.id;
