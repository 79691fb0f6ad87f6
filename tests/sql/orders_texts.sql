-- Texts made of groups: CASE, concatenation with NULL, dates in texts.
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

SELECT CONCAT(COALESCE(customer, '(nobody)'), ': ', CAST(COUNT(*) AS STRING)), DATE_FORMAT(window_start, 'HH:mm'),
    CASE WHEN SUM(price) > 3000 THEN 'large' WHEN SUM(price) > 1000 THEN 'middle' ELSE 'small' END,
    customer || '/' || item, CONCAT_WS('-', customer, item, 'x'), UPPER(LEFT(item, 2)), LPAD(CAST(MAX(quantity) AS STRING), 3, '0')
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '12' HOUR))
GROUP BY window_start, window_end, customer, item;
