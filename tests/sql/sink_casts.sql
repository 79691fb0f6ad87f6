-- What an INSERT casts by itself: narrower texts and decimals, wider numbers; a column list; constants; length enforcement off and on.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT,
    customer STRING,
    item STRING,
    quantity INT,
    price DECIMAL(8, 2),
    discount DOUBLE,
    express BOOLEAN,
    placed TIMESTAMP(3),
    due DATE,
    store TINYINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE narrow (
    item VARCHAR(3),
    price DECIMAL(4, 1),
    quantity BIGINT,
    store INT,
    total DOUBLE,
    placed TIMESTAMP(0),
    note STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/narrow',
    'format' = 'json'
);

CREATE TABLE enforced (
    item VARCHAR(3),
    price DECIMAL(4, 1)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/enforced',
    'format' = 'json'
);

INSERT INTO narrow
SELECT item, price, quantity, store, CAST(price AS FLOAT), placed, 'x' FROM orders WHERE id <= 40;

SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD';

INSERT INTO enforced
SELECT item, price FROM orders WHERE id <= 40;
