-- Windows over a view that filters, projects and unions in front; the row time passes through the view.
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

CREATE TEMPORARY VIEW expensive AS
SELECT auction, price * 2 AS twice, UPPER(channel) AS channel, `dateTime` AS at_time
FROM bid WHERE price > 1000;

CREATE TEMPORARY VIEW both_kinds AS
SELECT 'x' AS kind, auction, `dateTime` FROM bid WHERE MOD(auction, 2) = 0
UNION ALL
SELECT 'y', bidder, `dateTime` FROM bid WHERE bidder < 1010;

CREATE TABLE by_channel (
    channel STRING,
    window_start TIMESTAMP(3),
    n BIGINT,
    twice BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_channel',
    'format' = 'json'
);

INSERT INTO by_channel
SELECT channel, window_start, COUNT(*) AS n, SUM(twice) AS twice
FROM TABLE(TUMBLE(TABLE expensive, DESCRIPTOR(at_time), INTERVAL '20' SECOND))
GROUP BY channel, window_start, window_end;

CREATE TABLE by_kind (
    kind CHAR(1),
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    ids BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_kind',
    'format' = 'json'
);

INSERT INTO by_kind
SELECT kind, window_start, window_end, COUNT(*) AS n, COUNT(DISTINCT auction) AS ids
FROM TABLE(TUMBLE(TABLE both_kinds, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY kind, window_start, window_end;
