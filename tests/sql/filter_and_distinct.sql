-- FILTER, several distinct aggregates, distinct with filters, HAVING, CASE inside aggregates, expressions over aggregates.
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

CREATE TABLE distinct_many (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    total BIGINT,
    rank1 BIGINT,
    rank2 BIGINT,
    bidders BIGINT,
    bidders_rank1 BIGINT,
    auctions BIGINT,
    auctions_rank2 BIGINT,
    sum_auctions BIGINT,
    channels BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/distinct_many',
    'format' = 'json'
);

INSERT INTO distinct_many
SELECT window_start, window_end,
    COUNT(*) AS total,
    COUNT(*) FILTER (WHERE price < 10000) AS rank1,
    COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2,
    COUNT(DISTINCT bidder) AS bidders,
    COUNT(DISTINCT bidder) FILTER (WHERE price < 10000) AS bidders_rank1,
    COUNT(DISTINCT auction) AS auctions,
    COUNT(DISTINCT auction) FILTER (WHERE price >= 10000) AS auctions_rank2,
    SUM(DISTINCT auction) AS sum_auctions,
    COUNT(DISTINCT channel) AS channels
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '15' SECOND))
GROUP BY window_start, window_end;

CREATE TABLE busy_channels (
    channel STRING,
    window_start TIMESTAMP(3),
    n BIGINT,
    low BIGINT,
    high BIGINT,
    spread BIGINT,
    mean BIGINT,
    pct BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/busy_channels',
    'format' = 'json'
);

INSERT INTO busy_channels
SELECT channel, window_start, COUNT(*) AS n, MIN(price) AS low, MAX(price) AS high,
    MAX(price) - MIN(price) AS spread, SUM(price) / COUNT(*) AS mean, 100 * COUNT(DISTINCT bidder) / COUNT(*) AS pct
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY channel, window_start, window_end
HAVING COUNT(*) >= 15 AND MAX(price) > 1000;

CREATE TABLE cases (
    window_end TIMESTAMP(3),
    mood CHAR(4),
    big_two INT,
    avg_baidu BIGINT,
    sum_nobody BIGINT,
    n_nobody BIGINT,
    last_extra STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/cases',
    'format' = 'json'
);

INSERT INTO cases
SELECT window_end, CASE WHEN COUNT(*) > 200 THEN 'busy' ELSE 'calm' END AS mood,
    SUM(CASE WHEN channel IN ('Google', 'Apple') THEN 1 ELSE 0 END) AS big_two,
    AVG(price) FILTER (WHERE channel = 'Baidu') AS avg_baidu,
    SUM(price) FILTER (WHERE channel = 'nobody') AS sum_nobody,
    COUNT(price) FILTER (WHERE channel = 'nobody') AS n_nobody,
    COALESCE(MAX(extra) FILTER (WHERE extra <> ''), '-') AS last_extra
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;
