-- Several DISTINCT aggregates at once, with FILTER, of different types.
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

SELECT window_start, COUNT(DISTINCT customer), COUNT(DISTINCT item), COUNT(DISTINCT due), COUNT(DISTINCT express), COUNT(DISTINCT price),
    SUM(DISTINCT quantity), AVG(DISTINCT quantity), MIN(DISTINCT price), COUNT(DISTINCT customer) FILTER (WHERE express), COUNT(quantity), COUNT(*)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '4' HOUR))
GROUP BY window_start, window_end;

SELECT window_start, store, COUNT(DISTINCT item) FILTER (WHERE quantity > 3), COUNT(DISTINCT customer) FILTER (WHERE customer <> 'eve')
FROM TABLE(HOP(TABLE orders, DESCRIPTOR(placed), INTERVAL '4' HOUR, INTERVAL '8' HOUR))
GROUP BY window_start, window_end, store;
