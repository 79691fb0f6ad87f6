-- Days in America/New_York over a change of its clocks: tumbling, hopping and cumulating.
SET 'table.local-time-zone' = 'America/New_York';

CREATE TABLE ticks (
    id INT,
    t AS TO_TIMESTAMP_LTZ(1710046800000 + id * 1800000, 3),
    WATERMARK FOR t AS t - INTERVAL '1' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE daily (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT,
    least TIMESTAMP_LTZ(3),
    most TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/daily',
    'format' = 'json'
);

INSERT INTO daily
SELECT window_start, window_end, COUNT(*), MIN(t), MAX(t)
FROM TABLE(TUMBLE(TABLE ticks, DESCRIPTOR(t), INTERVAL '1' DAY)) GROUP BY window_start, window_end;

CREATE TABLE two_days (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT,
    least TIMESTAMP_LTZ(3),
    most TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/two_days',
    'format' = 'json'
);

INSERT INTO two_days
SELECT window_start, window_end, COUNT(*), MIN(t), MAX(t)
FROM TABLE(HOP(TABLE ticks, DESCRIPTOR(t), INTERVAL '1' DAY, INTERVAL '2' DAY)) GROUP BY window_start, window_end;

CREATE TABLE by_quarter (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT,
    least TIMESTAMP_LTZ(3),
    most TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/by_quarter',
    'format' = 'json'
);

INSERT INTO by_quarter
SELECT window_start, window_end, COUNT(*), MIN(t), MAX(t)
FROM TABLE(CUMULATE(TABLE ticks, DESCRIPTOR(t), INTERVAL '6' HOUR, INTERVAL '1' DAY)) GROUP BY window_start, window_end;

CREATE TABLE sessions (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT,
    least TIMESTAMP_LTZ(3),
    most TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sessions',
    'format' = 'json'
);

INSERT INTO sessions
SELECT window_start, window_end, COUNT(*), MIN(t), MAX(t)
FROM TABLE(SESSION(TABLE ticks, DESCRIPTOR(t), INTERVAL '20' MINUTE)) GROUP BY window_start, window_end;
