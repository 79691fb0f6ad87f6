-- Sessions by key and without one, with gaps that hold everything together and that hold nothing.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE clicks (
    `user` STRING,
    action STRING,
    amount INT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/clicks.json',
    'format' = 'json'
);

SELECT window_start, window_end, COUNT(*), SUM(amount)
FROM TABLE(SESSION(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND))
GROUP BY window_start, window_end;

SELECT window_start, window_end, `user`, COUNT(*), MIN(amount), MAX(action)
FROM TABLE(SESSION(TABLE clicks PARTITION BY `user`, DESCRIPTOR(ts), INTERVAL '40' SECOND))
GROUP BY window_start, window_end, `user`;

SELECT window_start, window_end, `user`, action, COUNT(*), COUNT(DISTINCT amount)
FROM TABLE(SESSION(TABLE clicks PARTITION BY (`user`, action), DESCRIPTOR(ts), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, `user`, action;
