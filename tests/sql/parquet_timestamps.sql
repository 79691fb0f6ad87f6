-- Timestamps of parquet: as INT64 in each unit, in UTC, far away from today.
SET 'table.dml-sync' = 'true';
SET 'table.local-time-zone' = 'America/New_York';

CREATE TABLE millis (
    id INT,
    ts TIMESTAMP(3),
    ltz TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/millis',
    'format' = 'parquet',
    'parquet.utc-timezone' = 'true',
    'parquet.write.int64.timestamp' = 'true',
    'parquet.timestamp.time.unit' = 'millis'
);

CREATE TABLE micros (
    id INT,
    ts TIMESTAMP(6),
    ltz TIMESTAMP_LTZ(6)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/micros',
    'format' = 'parquet',
    'parquet.utc-timezone' = 'true',
    'parquet.write.int64.timestamp' = 'true',
    'parquet.timestamp.time.unit' = 'micros'
);

CREATE TABLE nanos (
    id INT,
    ts TIMESTAMP(9)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/nanos',
    'format' = 'parquet',
    'parquet.write.int64.timestamp' = 'true',
    'parquet.timestamp.time.unit' = 'nanos'
);

INSERT INTO millis VALUES
    (1, TIMESTAMP '2024-03-10 02:30:00.001', TO_TIMESTAMP_LTZ(1710055800001, 3)),
    (2, TIMESTAMP '0001-01-01 00:00:00', TO_TIMESTAMP_LTZ(0, 3)),
    (3, TIMESTAMP '9999-12-31 23:59:59.999', TO_TIMESTAMP_LTZ(-62135596800000, 3)),
    (4, CAST(NULL AS TIMESTAMP(3)), CAST(NULL AS TIMESTAMP_LTZ(3)));

INSERT INTO micros SELECT id, CAST(ts AS TIMESTAMP(6)), CAST(ltz AS TIMESTAMP_LTZ(6)) FROM millis;

INSERT INTO nanos VALUES
    (1, TIMESTAMP '2024-03-10 02:30:00.123456789'),
    (2, TIMESTAMP '1970-01-01 00:00:00.000000001'),
    (3, TIMESTAMP '2262-04-11 23:47:16.854775807');

CREATE TABLE back (
    what STRING,
    id INT,
    ts STRING,
    ltz STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back
SELECT 'millis', id, CAST(ts AS STRING), CAST(ltz AS STRING) FROM millis
UNION ALL
SELECT 'micros', id, CAST(ts AS STRING), CAST(ltz AS STRING) FROM micros
UNION ALL
SELECT 'nanos', id, CAST(ts AS STRING), CAST(NULL AS STRING) FROM nanos;
