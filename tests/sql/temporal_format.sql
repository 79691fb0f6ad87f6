-- Texts and timestamps by pattern: DATE_FORMAT, TO_TIMESTAMP, TO_DATE, FROM_UNIXTIME, UNIX_TIMESTAMP in a zone with summer time.
SET 'table.local-time-zone' = 'America/New_York';

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

CREATE TABLE formatted (
    id INT,
    iso STRING,
    iso_ms STRING,
    compact STRING,
    clock STRING,
    clock_12 STRING,
    words STRING,
    long_words STRING,
    short_form STRING,
    ltz_iso STRING,
    from_text STRING,
    unixtime STRING,
    unixtime_hour STRING,
    unix_back BIGINT,
    unix_pattern BIGINT,
    shanghai STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/formatted',
    'format' = 'json'
);

INSERT INTO formatted
SELECT
    id,
    DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm:ss') AS iso,
    DATE_FORMAT(ts, 'yyyy-MM-dd''T''HH:mm:ss.SSS') AS iso_ms,
    DATE_FORMAT(ts, 'yyyyMMdd') AS compact,
    DATE_FORMAT(ts, 'HH:mm') AS clock,
    DATE_FORMAT(ts, 'h:mm a') AS clock_12,
    DATE_FORMAT(ts, 'EEE, d MMM yyyy') AS words,
    DATE_FORMAT(ts, 'EEEE MMMM') AS long_words,
    DATE_FORMAT(ts, 'yy/M/d H:m:s') AS short_form,
    DATE_FORMAT(TO_TIMESTAMP_LTZ(ms, 3), 'yyyy-MM-dd HH:mm:ss') AS ltz_iso,
    DATE_FORMAT(CAST(ts AS STRING), 'yyyy/MM/dd') AS from_text,
    FROM_UNIXTIME(ms / 1000) AS unixtime,
    FROM_UNIXTIME(ms / 1000, 'dd.MM.yyyy HH') AS unixtime_hour,
    UNIX_TIMESTAMP(DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm:ss')) AS unix_back,
    UNIX_TIMESTAMP('2024-07-01 08', 'yyyy-MM-dd HH') AS unix_pattern,
    CONVERT_TZ(DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm:ss'), 'UTC', 'Asia/Shanghai') AS shanghai
FROM times WHERE id <> 9;

CREATE TABLE texts (
    id INT,
    v STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/texts.json',
    'format' = 'json'
);

CREATE TABLE parsed (
    id INT,
    v STRING,
    ts TIMESTAMP(3),
    ts_minute TIMESTAMP(3),
    ts_compact TIMESTAMP(3),
    dt DATE,
    dt_compact DATE,
    ts_iso TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/parsed',
    'format' = 'json'
);

INSERT INTO parsed
SELECT
    id,
    v,
    TO_TIMESTAMP(v) AS ts,
    TO_TIMESTAMP(v, 'yyyy-MM-dd HH:mm') AS ts_minute,
    TO_TIMESTAMP(v, 'yyyyMMdd') AS ts_compact,
    TO_DATE(v) AS dt,
    TO_DATE(v, 'yyyyMMdd') AS dt_compact,
    TO_TIMESTAMP(v, 'yyyy-MM-dd''T''HH:mm:ss.SSSSSS') AS ts_iso
FROM texts WHERE id NOT IN (23);
