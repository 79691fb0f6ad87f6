-- A join of windows over TIMESTAMP_LTZ in the session's zone: days over a change of the clocks.
SET 'table.local-time-zone' = 'America/Los_Angeles';

CREATE TABLE ticks (
    id INT,
    customer STRING,
    spring AS TO_TIMESTAMP_LTZ(1710028800000 + id * 1500000, 3),
    WATERMARK FOR spring AS spring - INTERVAL '1' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE VIEW even AS SELECT * FROM ticks WHERE MOD(id, 2) = 0;
CREATE VIEW odd AS SELECT * FROM ticks WHERE MOD(id, 2) = 1;

CREATE TABLE daily (
    s TIMESTAMP(3),
    e TIMESTAMP(3),
    customer STRING,
    l INT,
    r INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/daily',
    'format' = 'json'
);

INSERT INTO daily
SELECT l.window_start, l.window_end, l.customer, l.id, r.id
FROM (SELECT * FROM TABLE(TUMBLE(TABLE even, DESCRIPTOR(spring), INTERVAL '1' DAY))) AS l
LEFT JOIN (SELECT * FROM TABLE(TUMBLE(TABLE odd, DESCRIPTOR(spring), INTERVAL '1' DAY))) AS r
ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.customer = r.customer AND r.id > l.id + 10
WHERE l.id < 150;
