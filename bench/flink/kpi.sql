-- The dashboard KPI job: per channel and 10 seconds, count, distinct bidders, average and sum of price.
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
    'path' = '${data}',
    'format' = 'json'
);

CREATE TABLE kpi (
    channel STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    bids BIGINT,
    bidders BIGINT,
    avg_price BIGINT,
    sum_price BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/kpi',
    'format' = 'json'
);

INSERT INTO kpi
SELECT
    channel,
    window_start,
    window_end,
    COUNT(*),
    COUNT(DISTINCT bidder),
    AVG(price),
    SUM(price)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY channel, window_start, window_end;
