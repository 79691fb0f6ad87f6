-- The keyed window from an in-process source: keyBy(auction), 10 s tumbling count and sum.
CREATE TABLE bid (
    auction BIGINT,
    bidder BIGINT,
    price BIGINT,
    `dateTime` TIMESTAMP(3),
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector' = 'nexmark',
    'nexmark.table' = 'bid',
    'events.num' = '54347826'
);

CREATE TABLE nowhere (auction BIGINT, n BIGINT, total BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nowhere
SELECT auction, COUNT(*), SUM(price)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;
