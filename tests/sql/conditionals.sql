-- CASE in both forms, COALESCE, NULLIF, IF, IFNULL, GREATEST, LEAST; the type of a branch mixture.
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

CREATE TABLE chosen (
    id INT,
    region VARCHAR(5),
    size VARCHAR(4),
    express_price DECIMAL(12, 2),
    mixed DOUBLE,
    int_mix INT,
    by_customer INT,
    customer STRING,
    discount DOUBLE,
    coalesced_mix DOUBLE,
    express BOOLEAN,
    not_bolt STRING,
    not_dozen INT,
    if_many VARCHAR(4),
    if_price DECIMAL(8, 2),
    customer_or_item STRING,
    greatest_int INT,
    least_int INT,
    greatest_dec DECIMAL(8, 2),
    greatest_text STRING,
    least_double DOUBLE,
    greatest_ts TIMESTAMP(3),
    least_date DATE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/chosen',
    'format' = 'json'
);

INSERT INTO chosen
SELECT
    id,
    CASE store WHEN 1 THEN 'north' WHEN 2 THEN 'south' WHEN 3 THEN 'east' END AS region,
    CASE WHEN quantity >= 10 THEN 'bulk' WHEN quantity >= 5 THEN 'some' ELSE 'few' END AS size,
    CASE WHEN express THEN price ELSE 0 END AS express_price,
    CASE WHEN express THEN quantity ELSE discount END AS mixed,
    CASE WHEN express IS NULL THEN store WHEN express THEN quantity END AS int_mix,
    CASE WHEN customer = 'ann' THEN 1 WHEN customer <> 'bob' THEN 2 ELSE 3 END AS by_customer,
    COALESCE(customer, 'nobody') AS customer,
    COALESCE(discount, 0) AS discount,
    COALESCE(discount, quantity, 1.5) AS coalesced_mix,
    COALESCE(express, FALSE) AS express,
    NULLIF(item, 'bolt') AS not_bolt,
    NULLIF(quantity, 12) AS not_dozen,
    IF(quantity > 6, 'many', 'few') AS if_many,
    IF(express, price, CAST(NULL AS DECIMAL(8, 2))) AS if_price,
    IFNULL(customer, item) AS customer_or_item,
    GREATEST(quantity, store, 5) AS greatest_int,
    LEAST(quantity, store) AS least_int,
    GREATEST(price, 100.5) AS greatest_dec,
    GREATEST(customer, item) AS greatest_text,
    LEAST(discount, 7e0) AS least_double,
    GREATEST(placed, TIMESTAMP '2024-02-29 00:00:00.000') AS greatest_ts,
    LEAST(due, DATE '2024-03-02') AS least_date
FROM orders WHERE id <= 150;
