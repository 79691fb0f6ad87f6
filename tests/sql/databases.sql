-- Databases: CREATE, USE, DROP, names of one to three parts, views that keep the database they were made in.
SET 'table.local-time-zone' = 'UTC';

CREATE DATABASE sales;
CREATE DATABASE IF NOT EXISTS sales COMMENT 'again';
CREATE DATABASE default_catalog.`Other Base`;
SHOW DATABASES;
USE sales;
SHOW CURRENT DATABASE;
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

CREATE VIEW big AS SELECT id, customer, quantity FROM orders WHERE quantity >= 11;
USE `Other Base`;
CREATE VIEW orders AS SELECT 1 AS id;
CREATE VIEW both_bases AS SELECT b.id, b.customer FROM sales.big AS b UNION ALL SELECT id, 'view' FROM orders;
USE default_catalog.default_database;
SHOW TABLES FROM sales;
SHOW TABLES IN `Other Base`;
CREATE DATABASE empty_one;
DROP DATABASE empty_one;
DROP DATABASE IF EXISTS empty_one;
CREATE TABLE outcome (
    id INT,
    customer STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/outcome',
    'format' = 'json'
);

INSERT INTO default_catalog.default_database.outcome SELECT id, customer FROM `Other Base`.both_bases;
INSERT INTO outcome SELECT b.id * 1000, b.customer FROM default_catalog.sales.big b WHERE b.id > 390;
DROP DATABASE sales CASCADE;
SHOW DATABASES;
