-- Arithmetic with window_start, window_end and window_time, and with several aggregates.
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

SELECT window_start - INTERVAL '1' HOUR, TIMESTAMPDIFF(SECOND, window_start, window_end), DATE_FORMAT(window_end, 'HH:mm:ss'),
    EXTRACT(MINUTE FROM window_start), CAST(window_start AS DATE), CAST(window_end AS STRING), window_end > TIMESTAMP '2024-01-01 00:06:00',
    SUM(amount) * 100 / COUNT(*), (MAX(amount) - MIN(amount)) / 2.0, -COUNT(*), SUM(amount) + COUNT(DISTINCT `user`)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end;

SELECT window_time, `user`, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, window_time, `user`;
