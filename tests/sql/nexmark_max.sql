-- As in Nexmark q7, without its join: the highest bid of every 10 seconds, no key.
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

CREATE TABLE highest (
    maxprice BIGINT,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    `dateTime` TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/highest',
    'format' = 'json'
);

INSERT INTO highest
SELECT MAX(price) AS maxprice, window_start, window_end, window_time
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, window_time;
