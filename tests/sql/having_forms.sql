-- HAVING over aggregates that are selected and that are not, with CASE, IN and BETWEEN.
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

SELECT window_start, `user`, SUM(amount)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, `user`
HAVING COUNT(*) BETWEEN 3 AND 12 AND MAX(amount) > 300;

SELECT window_end, action, COUNT(DISTINCT `user`) AS users
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, action
HAVING CASE WHEN action = 'view' THEN COUNT(*) > 20 ELSE AVG(amount) > 200 END OR MIN(`user`) IN ('ann', 'bob');

SELECT window_start, `user`
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, `user`
HAVING SUM(amount) > 0 AND `user` LIKE '%e%' AND NOT (COUNT(*) < 2);
