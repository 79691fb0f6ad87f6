-- Groups by what is computed: CASE, UPPER, arithmetic, a part of a time.
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

SELECT window_start, UPPER(action), MOD(amount, 3), COUNT(*)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, UPPER(action), MOD(amount, 3);

SELECT window_start, CASE WHEN amount > 250 THEN 'high' WHEN amount > 100 THEN 'low' END AS class, COUNT(*), AVG(amount)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, CASE WHEN amount > 250 THEN 'high' WHEN amount > 100 THEN 'low' END;

SELECT window_start, EXTRACT(SECOND FROM ts) / 20, COUNT(DISTINCT `user`)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, EXTRACT(SECOND FROM ts) / 20;
