-- CREATE TABLE AS SELECT.
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

CREATE TABLE copied WITH (
    'connector' = 'filesystem',
    'path' = '${out}/copied',
    'format' = 'json'
) AS SELECT id, UPPER(item) AS item, price * quantity AS total, placed FROM orders WHERE id <= 12;
DESCRIBE copied;
