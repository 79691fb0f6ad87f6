-- Variances and deviations of every numeric type, percentiles by frequency, counts of several columns.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT,
    item STRING,
    quantity INT,
    price DOUBLE,
    discount DECIMAL(8, 3),
    express BOOLEAN,
    placed TIMESTAMP(3),
    store INT,
    WATERMARK FOR placed AS placed - INTERVAL '5' MINUTE
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE spread (
    store INT,
    window_end TIMESTAMP(3),
    population DOUBLE,
    sample_of DOUBLE,
    the_same DOUBLE,
    deviation DOUBLE,
    sample_deviation DOUBLE,
    same_deviation DOUBLE,
    quantity_deviation INT,
    quantity_variance INT,
    var_tiny TINYINT,
    var_distinct DOUBLE,
    stddev_discount DECIMAL(38, 6),
    var_real FLOAT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/spread',
    'format' = 'json'
);

INSERT INTO spread
SELECT
    store,
    window_end,
    ROUND(VAR_POP(price), 3),
    ROUND(VAR_SAMP(price), 3),
    ROUND(VARIANCE(price), 3),
    ROUND(STDDEV_POP(price), 3),
    ROUND(STDDEV_SAMP(price), 3),
    ROUND(STDDEV(price), 3),
    STDDEV_POP(quantity),
    VAR_SAMP(quantity),
    VAR_POP(CAST(quantity AS TINYINT)),
    ROUND(VAR_POP(DISTINCT CAST(quantity AS DOUBLE)), 3),
    STDDEV_POP(discount),
    VAR_POP(CAST(quantity AS FLOAT))
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' HOUR))
GROUP BY store, window_start, window_end;

CREATE TABLE counts (
    store INT,
    window_end TIMESTAMP(3),
    median DOUBLE,
    quartiles ARRAY<DOUBLE>,
    one_row INT,
    only_null INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/counts',
    'format' = 'json'
);

INSERT INTO counts
SELECT
    store,
    window_end,
    PERCENTILE(price, 0.5, quantity),
    PERCENTILE(quantity, ARRAY[0.25, 0.75], quantity),
    VAR_SAMP(quantity) FILTER (WHERE id = 1),
    VAR_POP(quantity) FILTER (WHERE id < 0)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '6' HOUR))
GROUP BY store, window_start, window_end;
