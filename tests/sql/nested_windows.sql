-- Results of windows aggregated again: by the same window_start and window_end, and by a larger tumble over window_time.
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

CREATE TEMPORARY VIEW per_channel AS
SELECT channel, window_start, window_end, window_time AS rowtime, COUNT(*) AS n, SUM(price) AS total
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '5' SECOND))
GROUP BY channel, window_start, window_end, window_time;

CREATE TABLE same_window (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    channels BIGINT,
    most BIGINT,
    total BIGINT,
    mean_n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/same_window',
    'format' = 'json'
);

INSERT INTO same_window
SELECT window_start, window_end, COUNT(*) AS channels, MAX(n) AS most, SUM(total) AS total, AVG(n) AS mean_n
FROM per_channel GROUP BY window_start, window_end;

CREATE TEMPORARY VIEW channel_counts AS
SELECT channel, rowtime, n, total FROM per_channel;

CREATE TABLE larger_window (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    channel STRING,
    n BIGINT,
    best BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/larger_window',
    'format' = 'json'
);

INSERT INTO larger_window
SELECT window_start, window_end, channel, SUM(n) AS n, MAX(total) AS best
FROM TABLE(TUMBLE(TABLE channel_counts, DESCRIPTOR(rowtime), INTERVAL '20' SECOND))
GROUP BY channel, window_start, window_end;

CREATE TABLE larger_hop (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    channels BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/larger_hop',
    'format' = 'json'
);

INSERT INTO larger_hop
SELECT window_start, window_end, SUM(n) AS n, COUNT(DISTINCT channel) AS channels
FROM TABLE(HOP(TABLE channel_counts, DESCRIPTOR(rowtime), INTERVAL '10' SECOND, INTERVAL '30' SECOND))
GROUP BY window_start, window_end;
