-- What COLLECT and ARRAY_AGG have gathered in a window, taken apart again.
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

CREATE TEMPORARY VIEW gathered AS
SELECT window_start, `user`, COLLECT(action) AS actions, ARRAY_AGG(amount) AS amounts
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, `user`;

SELECT window_start, `user`, action FROM gathered CROSS JOIN UNNEST(actions) AS t (action);

SELECT `user`, amount FROM gathered CROSS JOIN UNNEST(amounts) AS t (amount) WHERE amount IS NULL OR amount > 5;
