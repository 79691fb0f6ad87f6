-- Hopping windows with keys of several columns, some nullable: strings, integers, booleans, dates, decimals, expressions.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE access_log (
    ts TIMESTAMP(3),
    user_id STRING,
    region STRING,
    section STRING,
    status INT,
    ms INT,
    `bytes` BIGINT,
    revenue DECIMAL(10, 2),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/access.json',
    'format' = 'json'
);

CREATE TABLE region_status (
    region STRING,
    status INT,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    slowest INT,
    with_bytes BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/region_status',
    'format' = 'json'
);

INSERT INTO region_status
SELECT region, status, window_start, window_end, COUNT(*) AS n, MAX(ms) AS slowest, COUNT(`bytes`) AS with_bytes
FROM TABLE(HOP(TABLE access_log, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '3' MINUTES))
GROUP BY region, status, window_start, window_end;

CREATE TABLE expression_keys (
    class INT,
    slow BOOLEAN,
    dt DATE,
    window_end TIMESTAMP(3),
    n BIGINT,
    traffic BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/expression_keys',
    'format' = 'json'
);

INSERT INTO expression_keys
SELECT status / 100 AS class, ms > 500 AS slow, CAST(ts AS DATE) AS dt, window_end, COUNT(*) AS n, SUM(`bytes`) AS traffic
FROM TABLE(HOP(TABLE access_log, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '4' MINUTES))
GROUP BY status / 100, ms > 500, CAST(ts AS DATE), window_start, window_end;

CREATE TABLE by_revenue (
    revenue DECIMAL(10, 2),
    window_start TIMESTAMP(3),
    n BIGINT,
    users BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_revenue',
    'format' = 'json'
);

INSERT INTO by_revenue
SELECT revenue, window_start, COUNT(*) AS n, COUNT(DISTINCT user_id) AS users
FROM TABLE(HOP(TABLE access_log, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '10' MINUTES))
GROUP BY revenue, window_start, window_end;
