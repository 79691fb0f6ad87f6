-- Nexmark queries 15 to 17 in windows: bids by channel and by rank of price.
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

SELECT channel, window_start, COUNT(*) AS total, COUNT(*) FILTER (WHERE price < 10000) AS rank1, COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2,
    COUNT(DISTINCT bidder) AS bidders, COUNT(DISTINCT bidder) FILTER (WHERE price < 10000) AS bidders1, COUNT(DISTINCT auction) AS auctions
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '20' SECOND))
GROUP BY channel, window_start, window_end
HAVING COUNT(*) > 1;

SELECT auction, DATE_FORMAT(window_start, 'yyyy-MM-dd HH:mm') AS `minute`, COUNT(*), MIN(price), MAX(price), AVG(price), SUM(price)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '1' MINUTE))
GROUP BY auction, window_start, window_end
HAVING COUNT(*) > 2;
