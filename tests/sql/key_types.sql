-- Grouping keys of every type besides the window: DOUBLE, DECIMAL, DATE, TIME, TIMESTAMP, BOOLEAN, TINYINT, CHAR, ROW fields, constants, no aggregate at all.
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
    store TINYINT,
    WATERMARK FOR placed AS placed
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE by_discount (
    discount DOUBLE,
    express BOOLEAN,
    window_start TIMESTAMP(3),
    n BIGINT,
    price DECIMAL(38, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_discount',
    'format' = 'json'
);

INSERT INTO by_discount
SELECT discount, express, window_start, COUNT(*) AS n, SUM(price) AS price
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '2' HOUR)) GROUP BY discount, express, window_start, window_end;

CREATE TABLE by_due (
    due DATE,
    store TINYINT,
    window_end TIMESTAMP(3),
    n BIGINT,
    customer STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_due',
    'format' = 'json'
);

INSERT INTO by_due
SELECT due, store, window_end, COUNT(*) AS n, MIN(customer) AS customer
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '3' HOUR)) GROUP BY due, store, window_start, window_end;

CREATE TABLE by_rounded (
    hundred DECIMAL(19, 11),
    placed_hour TIMESTAMP(3),
    first_letter STRING,
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_rounded',
    'format' = 'json'
);

INSERT INTO by_rounded
SELECT CAST(price AS DECIMAL(8, 0)) / 100 AS hundred, FLOOR(placed TO HOUR) AS placed_hour, SUBSTRING(item, 1, 1) AS first_letter, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '6' HOUR))
WHERE price < 300
GROUP BY CAST(price AS DECIMAL(8, 0)) / 100, FLOOR(placed TO HOUR), SUBSTRING(item, 1, 1), window_start, window_end;

CREATE TABLE distinct_only (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    item STRING,
    store TINYINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/distinct_only',
    'format' = 'json'
);

INSERT INTO distinct_only
SELECT window_start, window_end, item, store
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' HOUR)) GROUP BY item, store, window_start, window_end;

CREATE TABLE constants (
    window_start TIMESTAMP(3),
    label CHAR(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/constants',
    'format' = 'json'
);

INSERT INTO constants
SELECT window_start, 'all' AS label, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, 'all';
