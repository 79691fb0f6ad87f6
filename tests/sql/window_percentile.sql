-- PERCENTILE over windows: interpolated, exact.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE bid (
    auction BIGINT,
    bidder BIGINT,
    price BIGINT,
    channel VARCHAR,
    url VARCHAR,
    `dateTime` TIMESTAMP(3),
    extra VARCHAR,
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/bids.json',
    'format' = 'json'
);

CREATE TABLE percentiles (
    window_start TIMESTAMP(3),
    median DOUBLE,
    p95 DOUBLE,
    quartiles ARRAY<DOUBLE>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/percentiles',
    'format' = 'json'
);

INSERT INTO percentiles
SELECT window_start, PERCENTILE(price, 0.5) AS median, PERCENTILE(price, 0.95) AS p95, PERCENTILE(price, ARRAY[0.25, 0.75]) AS quartiles
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
