-- Partitions committed by event time: day and hour of each row's window, by a pattern and by a formatter.
SET 'table.dml-sync' = 'true';

CREATE TABLE bids (
    auction BIGINT,
    price BIGINT,
    `dateTime` TIMESTAMP(3),
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/bids.json',
    'format' = 'json'
);

CREATE TABLE hourly (
    n BIGINT,
    total BIGINT,
    dt STRING,
    hr STRING
) PARTITIONED BY (dt, hr) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hourly',
    'format' = 'json',
    'sink.partition-commit.trigger' = 'partition-time',
    'sink.partition-commit.delay' = '1 h',
    'partition.time-extractor.timestamp-pattern' = '$dt $hr:00:00',
    'sink.partition-commit.watermark-time-zone' = 'UTC',
    'sink.partition-commit.policy.kind' = 'success-file'
);

INSERT INTO hourly
SELECT COUNT(*), SUM(price), DATE_FORMAT(window_start, 'yyyy-MM-dd'), DATE_FORMAT(window_start, 'HH')
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(`dateTime`), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;

CREATE TABLE daily (
    n BIGINT,
    dt STRING
) PARTITIONED BY (dt) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/daily',
    'format' = 'csv',
    'sink.partition-commit.trigger' = 'partition-time',
    'partition.time-extractor.timestamp-formatter' = 'yyyyMMdd',
    'partition.time-extractor.timestamp-pattern' = '$dt',
    'sink.partition-commit.policy.kind' = 'success-file'
);

INSERT INTO daily
SELECT COUNT(*), DATE_FORMAT(window_start, 'yyyyMMdd')
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;
