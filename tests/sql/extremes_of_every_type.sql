-- MIN and MAX of texts, dates, times, booleans, decimals and numbers, with NULL among them.
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

SELECT window_start, MIN(customer), MAX(customer), MIN(item), MAX(due), MIN(due), MIN(placed), MAX(placed), MIN(express), MAX(express),
    MIN(price), MAX(discount), MIN(store), MAX(quantity)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '3' HOUR))
GROUP BY window_start, window_end;

SELECT window_start, item, MAX(CAST(due AS STRING)), MIN(CHAR_LENGTH(customer)), MAX(UPPER(customer)), MIN(CAST(price AS DOUBLE)), MAX(CAST(placed AS TIME))
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' DAY))
GROUP BY window_start, window_end, item;
