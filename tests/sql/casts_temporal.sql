-- Casts among DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ and to and from their texts, at several
-- precisions, in a zone that has summer time.
SET 'table.local-time-zone' = 'Europe/Berlin';

CREATE TABLE times (
    id INT,
    d DATE,
    t TIME,
    ts TIMESTAMP(3),
    ms BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/times.json',
    'format' = 'json'
);

CREATE TABLE plain (
    id INT,
    d DATE,
    t TIME(0),
    ts TIMESTAMP(3),
    d_text STRING,
    t_text STRING,
    ts_text STRING,
    ts0_text STRING,
    ts6_text STRING,
    ts9_text STRING,
    ts1_text STRING,
    ts_date DATE,
    ts_time TIME(0),
    d_ts TIMESTAMP(3),
    ts6 TIMESTAMP(6),
    ts0 TIMESTAMP(0),
    round_trip BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/plain',
    'format' = 'json'
);

INSERT INTO plain
SELECT
    id,
    d,
    t,
    ts,
    CAST(d AS STRING) AS d_text,
    CAST(t AS STRING) AS t_text,
    CAST(ts AS STRING) AS ts_text,
    CAST(CAST(ts AS TIMESTAMP(0)) AS STRING) AS ts0_text,
    CAST(CAST(ts AS TIMESTAMP(6)) AS STRING) AS ts6_text,
    CAST(CAST(ts AS TIMESTAMP(9)) AS STRING) AS ts9_text,
    CAST(CAST(ts AS TIMESTAMP(1)) AS STRING) AS ts1_text,
    CAST(ts AS DATE) AS ts_date,
    IF(ts >= TIMESTAMP '1970-01-01 00:00:00', CAST(ts AS TIME), CAST(NULL AS TIME)) AS ts_time,
    CAST(d AS TIMESTAMP(3)) AS d_ts,
    CAST(ts AS TIMESTAMP(6)) AS ts6,
    CAST(ts AS TIMESTAMP(0)) AS ts0,
    CAST(CAST(ts AS STRING) AS TIMESTAMP(3)) = ts AS round_trip
FROM times;

CREATE TABLE zoned (
    id INT,
    ltz TIMESTAMP_LTZ(3),
    ltz_text STRING,
    from_ms TIMESTAMP_LTZ(3),
    from_ms_text STRING,
    from_ms_local TIMESTAMP(3),
    from_ms_date DATE,
    from_ms_time TIME(0),
    from_s TIMESTAMP_LTZ(3),
    d_ltz TIMESTAMP_LTZ(3),
    before_ms BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/zoned',
    'format' = 'json'
);

INSERT INTO zoned
SELECT
    id,
    CAST(ts AS TIMESTAMP_LTZ(3)) AS ltz,
    CAST(CAST(ts AS TIMESTAMP_LTZ(3)) AS STRING) AS ltz_text,
    TO_TIMESTAMP_LTZ(ms, 3) AS from_ms,
    CAST(TO_TIMESTAMP_LTZ(ms, 3) AS STRING) AS from_ms_text,
    CAST(TO_TIMESTAMP_LTZ(ms, 3) AS TIMESTAMP(3)) AS from_ms_local,
    CAST(TO_TIMESTAMP_LTZ(ms, 3) AS DATE) AS from_ms_date,
    IF(ms >= 0, CAST(TO_TIMESTAMP_LTZ(ms, 3) AS TIME), CAST(NULL AS TIME)) AS from_ms_time,
    TO_TIMESTAMP_LTZ(ms / 1000, 0) AS from_s,
    CAST(d AS TIMESTAMP_LTZ(3)) AS d_ltz,
    CAST(ts AS TIMESTAMP_LTZ(3)) < TO_TIMESTAMP_LTZ(ms, 3) AS before_ms
FROM times;
