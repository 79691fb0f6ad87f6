-- Windows in batch mode: any TIMESTAMP will do, and no row is late.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE late (
    k STRING,
    ts TIMESTAMP(3),
    n INT,
    note STRING,
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/late.json',
    'format' = 'json'
);
CREATE TABLE orders (
    id BIGINT,
    customer STRING,
    item STRING,
    quantity INT,
    price DECIMAL(10, 2),
    discount DECIMAL(6, 3),
    express BOOLEAN,
    placed TIMESTAMP(3),
    due DATE,
    store INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE tumbled (k STRING, s TIMESTAMP(3), e TIMESTAMP(3), n BIGINT, total INT)
WITH ('connector' = 'filesystem', 'path' = '${out}/tumbled', 'format' = 'json');

INSERT INTO tumbled
SELECT k, window_start, window_end, COUNT(*), SUM(n)
FROM TABLE(TUMBLE(TABLE late, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;

SELECT window_start, window_end, COUNT(*), SUM(quantity)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;

SELECT window_end, store, MAX(price)
FROM TABLE(HOP(TABLE orders, DESCRIPTOR(placed), INTERVAL '30' MINUTE, INTERVAL '1' HOUR))
WHERE store < 3 GROUP BY window_start, window_end, store;

SELECT window_start, window_end, COUNT(*)
FROM TABLE(CUMULATE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' HOUR, INTERVAL '6' HOUR))
GROUP BY window_start, window_end;

-- Windows are columns like others.
SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '2' HOUR)) GROUP BY window_start;
SELECT store, COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '2' HOUR)) GROUP BY store;
SELECT COUNT(DISTINCT window_start) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' HOUR));
SELECT id, window_start FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' DAY)) ORDER BY id LIMIT 5;
