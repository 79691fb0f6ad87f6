-- SHOW and DESCRIBE of tables, views, columns and databases, with patterns.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT NOT NULL,
    customer VARCHAR(20) COMMENT 'who',
    `Größe` DOUBLE,
    price DECIMAL(8, 2) NOT NULL COMMENT 'it''s each',
    items ARRAY<ROW<name STRING, n INT NOT NULL>>,
    tags MAP<STRING, BYTES>,
    flag BOOLEAN,
    small TINYINT, smaller SMALLINT, larger BIGINT,
    f FLOAT, c CHAR(3), b BINARY(4), vb VARBINARY(8),
    d DATE, t TIME(0), placed TIMESTAMP(3), exact TIMESTAMP(9), seen TIMESTAMP_LTZ(3),
    total AS price * 2 COMMENT 'twice',
    WATERMARK FOR placed AS placed - INTERVAL '1' SECOND,
    CONSTRAINT pk PRIMARY KEY (id, price) NOT ENFORCED
) COMMENT 'all orders' WITH (
    'connector' = 'filesystem',
    'path' = '/nowhere',
    'format' = 'json'
);

CREATE TABLE plain (a INT, b STRING) WITH ('connector' = 'blackhole');
CREATE TEMPORARY TABLE passing (a INT) WITH ('connector' = 'datagen');
CREATE VIEW cheap AS SELECT id, price, price > 1 AS dear, COALESCE(customer, 'none') AS customer FROM orders WHERE price < 10;
CREATE TEMPORARY VIEW names (nr, who) AS SELECT id, customer FROM orders;

SHOW TABLES;
SHOW TABLES LIKE 'p%';
SHOW TABLES NOT LIKE '%a%';
SHOW TABLES FROM default_catalog.default_database LIKE '_lain';
SHOW VIEWS;
SHOW DATABASES;
SHOW CATALOGS;
SHOW CURRENT CATALOG;
SHOW CURRENT DATABASE;
SHOW COLUMNS FROM plain;
SHOW COLUMNS IN orders LIKE '%all%';
DESCRIBE orders;
DESCRIBE plain;
DESC cheap;
DESCRIBE names;
