-- Orders around 29 February 2024: windows of a day, dates and times of it.
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

SELECT window_start, window_end, COUNT(*), SUM(quantity), MIN(due), MAX(due)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' DAY))
GROUP BY window_start, window_end;

SELECT window_start, store, COUNT(*), COUNT(*) FILTER (WHERE due = DATE '2024-02-29'), COUNT(*) FILTER (WHERE due < CAST(placed AS DATE))
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '6' HOUR))
GROUP BY window_start, window_end, store;

SELECT id, due, due + INTERVAL '1' YEAR, due - INTERVAL '1' MONTH, TIMESTAMPDIFF(DAY, placed, CAST(due AS TIMESTAMP(3))),
    EXTRACT(DOY FROM due), DAYOFWEEK(due), DATE_FORMAT(placed, 'yyyy-MM-dd HH')
FROM orders WHERE MOD(id, 23) = 0;
