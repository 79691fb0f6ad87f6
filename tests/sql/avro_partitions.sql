-- A partitioned table of avro files: the partition columns are in the paths only.
SET 'table.dml-sync' = 'true';

CREATE TABLE bids (
    auction BIGINT,
    price BIGINT,
    channel STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/bids.json',
    'format' = 'json'
);

CREATE TABLE by_channel (
    auction BIGINT,
    channel STRING,
    price BIGINT
) PARTITIONED BY (channel) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/by_channel',
    'format' = 'avro',
    'sink.partition-commit.policy.kind' = 'success-file'
);

INSERT INTO by_channel SELECT auction, channel, price FROM bids WHERE auction < 1100;

CREATE TABLE back (
    channel STRING,
    price BIGINT,
    auction BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'csv'
);

INSERT INTO back SELECT channel, price, auction FROM by_channel WHERE channel IN ('Google', 'Apple', 'channel-60') AND price <= 100;
