-- Filters that leave nothing: no window, also without a key; FILTER that leaves nothing: a window with NULL and 0.
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

SELECT window_start, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
WHERE action = 'never'
GROUP BY window_start, window_end;

SELECT window_start, `user`, COUNT(*)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
WHERE amount > 100000
GROUP BY window_start, window_end, `user`;

SELECT window_start, COUNT(*) FILTER (WHERE action = 'never'), SUM(amount) FILTER (WHERE action = 'never'),
    MAX(action) FILTER (WHERE amount < 0), COUNT(DISTINCT `user`) FILTER (WHERE FALSE), AVG(amount) FILTER (WHERE CAST(NULL AS BOOLEAN))
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end;

SELECT window_start, COUNT(*)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end
HAVING COUNT(*) > 100000;
