-- TIMESTAMP_LTZ columns computed from milliseconds, written to json and csv, in a zone eight hours ahead.
SET 'table.local-time-zone' = 'Asia/Shanghai';

CREATE TABLE events (
    id INT,
    ms BIGINT,
    d DATE,
    seen_at AS TO_TIMESTAMP_LTZ(ms, 3),
    `day` AS CAST(TO_TIMESTAMP_LTZ(ms, 3) AS DATE)
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/times.json',
    'format' = 'json'
);

CREATE TABLE as_json (
    id INT,
    seen_at TIMESTAMP_LTZ(3),
    `day` DATE,
    at_text STRING,
    at_local TIMESTAMP(3),
    at_hour BIGINT,
    hour_at BIGINT,
    at_floor TIMESTAMP_LTZ(3),
    at_floor_day TIMESTAMP_LTZ(3),
    tomorrow TIMESTAMP_LTZ(3),
    later_on TIMESTAMP_LTZ(3),
    recent BOOLEAN,
    hours_since INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/as_json',
    'format' = 'json'
);

INSERT INTO as_json
SELECT
    id,
    seen_at,
    `day`,
    CAST(seen_at AS STRING) AS at_text,
    CAST(seen_at AS TIMESTAMP(3)) AS at_local,
    EXTRACT(HOUR FROM seen_at) AS at_hour,
    HOUR(seen_at) AS hour_at,
    FLOOR(seen_at TO HOUR) AS at_floor,
    FLOOR(seen_at TO DAY) AS at_floor_day,
    seen_at + INTERVAL '1' DAY AS tomorrow,
    TIMESTAMPADD(HOUR, 2, seen_at) AS later_on,
    seen_at > TO_TIMESTAMP_LTZ(1700000000, 0) AS recent,
    TIMESTAMPDIFF(HOUR, TO_TIMESTAMP_LTZ(1700000000, 0), seen_at) AS hours_since
FROM events WHERE ms >= 0 AND id <> 9;

CREATE TABLE round_trip (
    id INT,
    seen_at TIMESTAMP_LTZ(3),
    at_0 TIMESTAMP_LTZ(0),
    at_local TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/as_csv',
    'format' = 'csv'
);

INSERT INTO round_trip
SELECT id, seen_at, CAST(seen_at AS TIMESTAMP_LTZ(0)), CAST(seen_at AS TIMESTAMP(3)) FROM events WHERE ms >= 0;
