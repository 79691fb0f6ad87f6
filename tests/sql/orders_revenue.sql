-- Revenue in decimals: products, discounts in doubles, shares of a window, rounding.
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

SELECT window_start, store, SUM(price * quantity), AVG(price), SUM(price) / COUNT(*), MAX(price * quantity),
    ROUND(SUM(price * quantity * (1 - discount / 100)), 4), CAST(SUM(price * quantity) AS DECIMAL(20, 0))
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '6' HOUR))
GROUP BY window_start, window_end, store;

SELECT window_start, item, SUM(CASE WHEN express THEN price ELSE 0 END), SUM(CASE WHEN express IS NULL THEN 1 ELSE 0 END),
    TRUNCATE(AVG(price), 1), CEIL(SUM(price)), FLOOR(AVG(price * quantity)), SIGN(SUM(price) - 5000)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '12' HOUR))
GROUP BY window_start, window_end, item;
