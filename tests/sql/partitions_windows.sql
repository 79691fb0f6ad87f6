-- Windows over a partitioned table, whose event time comes from the files and whose key from the paths.
SET 'table.dml-sync' = 'true';

CREATE TABLE bids (
    auction BIGINT,
    price BIGINT,
    channel STRING,
    `dateTime` TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/bids.json',
    'format' = 'json'
);

CREATE TABLE by_channel (
    price BIGINT,
    channel STRING,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
) PARTITIONED BY (channel) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/by_channel',
    'format' = 'avro'
);

INSERT INTO by_channel SELECT price, channel, `dateTime` FROM bids WHERE channel IN ('Google', 'Apple', 'Baidu', 'Facebook');

CREATE TABLE sink (
    channel STRING,
    window_start TIMESTAMP(3),
    n BIGINT,
    total BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sink',
    'format' = 'json'
);

INSERT INTO sink
SELECT channel, window_start, COUNT(*), SUM(price)
FROM TABLE(TUMBLE(TABLE by_channel, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY channel, window_start, window_end;
