-- As in Nexmark q5: bids per auction over hopping windows, and the most of them per window.
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

CREATE TABLE hot_items (
    auction BIGINT,
    num BIGINT,
    starttime TIMESTAMP(3),
    endtime TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hot_items',
    'format' = 'json'
);

CREATE TABLE max_num (
    maxn BIGINT,
    auctions BIGINT,
    starttime TIMESTAMP(3),
    endtime TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/max_num',
    'format' = 'json'
);

CREATE TEMPORARY VIEW auction_bids AS
SELECT auction, count(*) AS num, window_start AS starttime, window_end AS endtime
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;

EXECUTE STATEMENT SET
BEGIN
    INSERT INTO hot_items SELECT * FROM auction_bids;

    INSERT INTO max_num
    SELECT max(CountBids.num) AS maxn, count(*), CountBids.window_start, CountBids.window_end
    FROM (
        SELECT auction, count(*) AS num, window_start, window_end
        FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
        GROUP BY auction, window_start, window_end
    ) AS CountBids
    GROUP BY CountBids.window_start, CountBids.window_end;
END;
