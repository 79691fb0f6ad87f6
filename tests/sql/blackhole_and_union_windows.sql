-- One stream into several windows and a blackhole by one statement set: tumble, hop, cumulate and session over the same source; the window function's named arguments.
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

CREATE TABLE nothing_kept (
    auction BIGINT,
    price BIGINT
) WITH (
    'connector' = 'blackhole'
);

CREATE TABLE counts (
    kind STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    price BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/counts',
    'format' = 'json'
);

CREATE TABLE by_auction (
    auction BIGINT,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_auction',
    'format' = 'csv'
);

EXECUTE STATEMENT SET BEGIN
INSERT INTO nothing_kept SELECT auction, price FROM bid;
INSERT INTO counts
SELECT 'tumble', window_start, window_end, COUNT(*), SUM(price)
FROM TABLE(TUMBLE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(`dateTime`), SIZE => INTERVAL '7' SECOND))
GROUP BY window_start, window_end
UNION ALL
SELECT 'hop', window_start, window_end, COUNT(*), MAX(price)
FROM TABLE(HOP(DATA => TABLE bid, TIMECOL => DESCRIPTOR(`dateTime`), SLIDE => INTERVAL '5' SECOND, SIZE => INTERVAL '15' SECOND))
GROUP BY window_start, window_end
UNION ALL
SELECT 'cumulate', window_start, window_end, COUNT(*), MIN(price)
FROM TABLE(CUMULATE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(`dateTime`), STEP => INTERVAL '10' SECOND, SIZE => INTERVAL '30' SECOND))
GROUP BY window_start, window_end;
INSERT INTO by_auction
SELECT auction, window_start, window_end, COUNT(*)
FROM TABLE(SESSION(DATA => TABLE bid PARTITION BY auction, TIMECOL => DESCRIPTOR(`dateTime`), GAP => INTERVAL '3' SECOND))
GROUP BY auction, window_start, window_end
HAVING COUNT(*) > 2;
END;
