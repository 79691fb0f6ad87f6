-- ALTER TABLE: options, columns, watermark, primary key and name, seen by DESCRIBE and by the queries that follow.
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

ALTER TABLE orders ADD total AS price * quantity;
ALTER TABLE orders ADD (
    discount DOUBLE,
    `due` DATE COMMENT 'pay until' AFTER placed,
    note AS UPPER(item) FIRST
);
ALTER TABLE orders ADD WATERMARK FOR placed AS placed - INTERVAL '1' MINUTE;
ALTER TABLE orders MODIFY id INT NOT NULL;
ALTER TABLE orders ADD PRIMARY KEY (id) NOT ENFORCED;
DESCRIBE orders;

ALTER TABLE orders RENAME store TO shop;
ALTER TABLE orders MODIFY (price DECIMAL(10, 2) COMMENT 'each' AFTER id);
ALTER TABLE orders MODIFY WATERMARK FOR placed AS placed - INTERVAL '5' SECOND;
ALTER TABLE orders DROP express;
ALTER TABLE orders DROP PRIMARY KEY;
DESCRIBE orders;

ALTER TABLE orders DROP WATERMARK;
ALTER TABLE orders DROP (total, shop);
ALTER TABLE orders SET ('json.ignore-parse-errors' = 'true', 'json.timestamp-format.standard' = 'SQL');
ALTER TABLE orders RESET ('json.timestamp-format.standard');
ALTER TABLE orders RENAME TO sold;
ALTER TABLE IF EXISTS orders SET ('path' = '/nowhere');
DESCRIBE sold;
SHOW TABLES;

CREATE TABLE outcome (
    note STRING,
    id INT,
    price DECIMAL(10, 2),
    customer STRING,
    due DATE,
    discount DOUBLE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/outcome',
    'format' = 'json'
);

INSERT INTO outcome SELECT note, id, price, customer, due, discount FROM sold WHERE id <= 40;
