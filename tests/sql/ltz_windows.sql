-- A TIMESTAMP_LTZ row time: windows of a day and of hours follow the session's zone (UTC+5:30 has no full hours), sinks show UTC.
SET 'table.local-time-zone' = 'Asia/Kolkata';

CREATE TABLE orders (
    id INT,
    customer STRING,
    quantity INT,
    placed STRING,
    seconds AS UNIX_TIMESTAMP(SUBSTRING(placed, 1, 19)),
    placed_at AS TO_TIMESTAMP_LTZ(1709150400000 + id * 480000, 3),
    WATERMARK FOR placed_at AS placed_at - INTERVAL '1' MINUTE
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE daily (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    window_time TIMESTAMP_LTZ(3),
    n BIGINT,
    quantity INT,
    earliest TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/daily',
    'format' = 'json'
);

INSERT INTO daily
SELECT window_start, window_end, window_time, COUNT(*) AS n, SUM(quantity) AS quantity, MIN(placed_at) AS earliest
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed_at), INTERVAL '1' DAY))
GROUP BY window_start, window_end, window_time;

CREATE TABLE hourly (
    customer STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hourly',
    'format' = 'json'
);

INSERT INTO hourly
SELECT customer, window_start, window_end, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed_at), INTERVAL '6' HOUR))
GROUP BY customer, window_start, window_end;

CREATE TABLE hopping (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    last_second BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hopping',
    'format' = 'json'
);

INSERT INTO hopping
SELECT window_start, window_end, COUNT(*) AS n, MAX(seconds) AS last_second
FROM TABLE(HOP(TABLE orders, DESCRIPTOR(placed_at), INTERVAL '12' HOUR, INTERVAL '1' DAY))
GROUP BY window_start, window_end;

CREATE TABLE bursts (
    customer STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    window_time TIMESTAMP_LTZ(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/bursts',
    'format' = 'json'
);

INSERT INTO bursts
SELECT customer, window_start, window_end, window_time, COUNT(*) AS n
FROM TABLE(SESSION(TABLE orders PARTITION BY customer, DESCRIPTOR(placed_at), INTERVAL '30' MINUTE))
GROUP BY customer, window_start, window_end, window_time;
