-- DROP of tables and views; temporary objects hide others of the same name until they are dropped.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT,
    customer STRING,
    item STRING,
    quantity INT,
    price DECIMAL(8, 2),
    express BOOLEAN,
    placed TIMESTAMP(3),
    store TINYINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE VIEW v AS SELECT id, customer FROM orders WHERE id <= 3;
CREATE TEMPORARY VIEW v AS SELECT id, 'hidden' AS customer FROM orders WHERE id > 398;
CREATE TABLE here (
    id INT,
    customer STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/here',
    'format' = 'json'
);

CREATE TABLE there (
    id INT,
    customer STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/there',
    'format' = 'json'
);

INSERT INTO here SELECT * FROM v;
DROP TEMPORARY VIEW v;
INSERT INTO there SELECT * FROM v;
DROP VIEW v;
DROP VIEW IF EXISTS v;
DROP TABLE IF EXISTS nothing;
CREATE TEMPORARY TABLE t (a INT) WITH ('connector' = 'blackhole');
DROP TEMPORARY TABLE t;
DROP TEMPORARY TABLE IF EXISTS t;
SHOW TABLES;
