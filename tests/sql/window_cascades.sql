-- Windows over the window_time of other windows: tumble to hop, cumulate and session, three levels, grouping sets below.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE bid (
    auction BIGINT,
    bidder BIGINT,
    price BIGINT,
    channel STRING,
    `dateTime` TIMESTAMP(3),
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/bids.json',
    'format' = 'json'
);

CREATE VIEW per_second AS
SELECT window_start AS s, window_end AS e, window_time AS rt, channel, COUNT(*) AS n, SUM(price) AS total
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND)) GROUP BY channel, window_start, window_end, window_time;

CREATE VIEW tens AS
SELECT window_start AS s, window_end AS e, window_time AS rt, SUM(n) AS n, MAX(total) AS best
FROM TABLE(TUMBLE(TABLE per_second, DESCRIPTOR(rt), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time;

CREATE TABLE thirties (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT,
    best BIGINT,
    parts BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/thirties',
    'format' = 'json'
);

INSERT INTO thirties
SELECT window_start, window_end, SUM(n), MAX(best), COUNT(*)
FROM TABLE(TUMBLE(TABLE tens, DESCRIPTOR(rt), INTERVAL '30' SECOND)) GROUP BY window_start, window_end;

CREATE TABLE cumulated (
    channel STRING,
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/cumulated',
    'format' = 'json'
);

INSERT INTO cumulated
SELECT channel, window_start, window_end, SUM(n)
FROM TABLE(CUMULATE(TABLE per_second, DESCRIPTOR(rt), INTERVAL '10' SECOND, INTERVAL '30' SECOND))
WHERE channel IN ('Apple', 'Baidu') GROUP BY channel, window_start, window_end;

CREATE TABLE sessions (
    channel STRING,
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sessions',
    'format' = 'json'
);

INSERT INTO sessions
SELECT channel, window_start, window_end, SUM(n)
FROM TABLE(SESSION(TABLE per_second PARTITION BY channel, DESCRIPTOR(rt), INTERVAL '4' SECOND)) GROUP BY channel, window_start, window_end;

CREATE TABLE inside (
    s TIMESTAMP(3),
    channels BIGINT,
    most BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/inside',
    'format' = 'json'
);

INSERT INTO inside
SELECT window_start, COUNT(*), MAX(n) FROM (
    SELECT window_start, window_end, channel, COUNT(*) AS n
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '5' SECOND, INTERVAL '20' SECOND))
    GROUP BY window_start, window_end, channel
) GROUP BY window_start, window_end;
