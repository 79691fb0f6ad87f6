-- parallelism: 1
-- Aggregates that remember values: FIRST_VALUE, LAST_VALUE and LISTAGG on one key in arrival order.
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

CREATE TABLE remembered (
    `user` STRING,
    window_start TIMESTAMP(3),
    first_action STRING,
    last_amount INT,
    actions STRING,
    amounts STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/remembered',
    'format' = 'json'
);

INSERT INTO remembered
SELECT `user`, window_start, FIRST_VALUE(action) AS first_action, LAST_VALUE(amount) AS last_amount,
    LISTAGG(action) AS actions, LISTAGG(CAST(amount AS STRING), '+') AS amounts
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY `user`, window_start, window_end;
