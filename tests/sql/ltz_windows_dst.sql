-- Windows of a day and of hours over the change to summer and winter time; row time is TIMESTAMP_LTZ in a zone that has one.
SET 'table.local-time-zone' = 'America/Los_Angeles';

CREATE TABLE ticks (
    id INT,
    spring AS TO_TIMESTAMP_LTZ(1710028800000 + id * 1500000, 3),
    WATERMARK FOR spring AS spring - INTERVAL '1' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE autumn_ticks (
    id INT,
    autumn AS TO_TIMESTAMP_LTZ(1730530800000 + id * 1500000, 3),
    WATERMARK FOR autumn AS autumn - INTERVAL '1' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE spring_days (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    earliest TIMESTAMP_LTZ(3),
    latest TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/spring_days',
    'format' = 'json'
);

INSERT INTO spring_days
SELECT window_start, window_end, COUNT(*) AS n, MIN(spring) AS earliest, MAX(spring) AS latest
FROM TABLE(TUMBLE(TABLE ticks, DESCRIPTOR(spring), INTERVAL '1' DAY)) GROUP BY window_start, window_end;

CREATE TABLE spring_hours (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    window_time TIMESTAMP_LTZ(3),
    n BIGINT,
    earliest TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/spring_hours',
    'format' = 'json'
);

INSERT INTO spring_hours
SELECT window_start, window_end, window_time, COUNT(*) AS n, MIN(spring) AS earliest
FROM TABLE(TUMBLE(TABLE ticks, DESCRIPTOR(spring), INTERVAL '1' HOUR)) WHERE id < 100 GROUP BY window_start, window_end, window_time;

CREATE TABLE autumn_days (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    n BIGINT,
    earliest TIMESTAMP_LTZ(3),
    latest TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/autumn_days',
    'format' = 'json'
);

INSERT INTO autumn_days
SELECT window_start, window_end, COUNT(*) AS n, MIN(autumn) AS earliest, MAX(autumn) AS latest
FROM TABLE(TUMBLE(TABLE autumn_ticks, DESCRIPTOR(autumn), INTERVAL '1' DAY)) GROUP BY window_start, window_end;

CREATE TABLE autumn_hours (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    window_time TIMESTAMP_LTZ(3),
    n BIGINT,
    earliest TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/autumn_hours',
    'format' = 'json'
);

INSERT INTO autumn_hours
SELECT window_start, window_end, window_time, COUNT(*) AS n, MIN(autumn) AS earliest
FROM TABLE(TUMBLE(TABLE autumn_ticks, DESCRIPTOR(autumn), INTERVAL '1' HOUR)) WHERE id < 150 GROUP BY window_start, window_end, window_time;
