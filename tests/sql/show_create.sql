-- SHOW CREATE TABLE and SHOW CREATE VIEW of what has no expressions, whose texts Flink writes anew.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT NOT NULL,
    customer STRING COMMENT 'who',
    price DECIMAL(8, 2),
    payload BYTES,
    items ARRAY<ROW<name STRING, n INT NOT NULL>>,
    placed TIMESTAMP(3),
    CONSTRAINT pk PRIMARY KEY (id) NOT ENFORCED
) COMMENT 'all orders' WITH (
    'connector' = 'blackhole'
);

SHOW CREATE TABLE orders;
