-- Computed columns, one of them the row time; missing json fields are NULL, unknown ones ignored;
-- a column order that differs from the file's; PRIMARY KEY NOT ENFORCED; a sink column list.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE access_log (
    status INT,
    `path` STRING,
    ts STRING,
    missing STRING,
    ms INT,
    seconds AS ms / 1000.0,
    event_time AS TO_TIMESTAMP(ts),
    page AS SPLIT_INDEX(`path`, '?', 0),
    ok AS status < 400,
    WATERMARK FOR event_time AS event_time - INTERVAL '5' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/access.json',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true'
);

CREATE TABLE slow_pages (
    event_time TIMESTAMP(3),
    page STRING,
    seconds DECIMAL(16, 6),
    missing STRING,
    unset INT,
    PRIMARY KEY (event_time) NOT ENFORCED
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/slow_pages',
    'format' = 'json'
);

CREATE TABLE per_minute (
    window_start TIMESTAMP(3),
    ok BOOLEAN,
    n BIGINT,
    slowest DECIMAL(16, 6)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/per_minute',
    'format' = 'json'
);

INSERT INTO slow_pages (page, event_time, seconds, missing)
SELECT page, event_time, seconds, missing FROM access_log WHERE ms > 850;

INSERT INTO per_minute
SELECT window_start, ok, COUNT(*), MAX(seconds)
FROM TABLE(TUMBLE(TABLE access_log, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
GROUP BY ok, window_start, window_end;
