-- Group windows of old over TIMESTAMP_LTZ in the session's zone, over a change to summer time.
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

CREATE TABLE daily (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/daily',
    'format' = 'json'
);

INSERT INTO daily
SELECT TUMBLE_START(spring, INTERVAL '1' DAY), TUMBLE_END(spring, INTERVAL '1' DAY), COUNT(*) FROM ticks GROUP BY TUMBLE(spring, INTERVAL '1' DAY);

CREATE TABLE hourly (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/hourly',
    'format' = 'json'
);

INSERT INTO hourly
SELECT HOP_START(spring, INTERVAL '1' HOUR, INTERVAL '2' HOUR), HOP_END(spring, INTERVAL '1' HOUR, INTERVAL '2' HOUR), COUNT(*)
FROM ticks WHERE id < 60 GROUP BY HOP(spring, INTERVAL '1' HOUR, INTERVAL '2' HOUR);
