-- Windows of a second, of a millisecond and of many days; a hop as long as its window.
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

SELECT window_start, COUNT(*)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' SECOND))
WHERE action = 'buy'
GROUP BY window_start, window_end;

SELECT window_start, window_end, COUNT(*)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '0.001' SECOND))
WHERE `user` = 'ann' AND amount > 300
GROUP BY window_start, window_end;

SELECT window_start, window_end, COUNT(*), COUNT(DISTINCT `user`)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '365' DAY(3)))
GROUP BY window_start, window_end;

SELECT window_start, window_end, SUM(amount)
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '5' MINUTE))
GROUP BY window_start, window_end;
