-- NULL is a key like any other, alone and beside others.
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
    store SMALLINT,
    WATERMARK FOR placed AS placed - INTERVAL '5' MINUTE
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

SELECT window_start, customer, COUNT(*), COUNT(customer), SUM(price)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '6' HOUR))
GROUP BY window_start, window_end, customer;

SELECT window_start, customer, express, COUNT(*), MIN(quantity)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '12' HOUR))
GROUP BY window_start, window_end, customer, express;

SELECT window_start, NULLIF(item, 'bolt') AS item, COUNT(*), COUNT(DISTINCT customer)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '12' HOUR))
GROUP BY window_start, window_end, NULLIF(item, 'bolt');
