-- parallelism: 1
-- Aggregates that keep values in the order of their arrival, with NULLs and repeated values.
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

CREATE TABLE kept (
    `user` STRING,
    window_end TIMESTAMP(3),
    first_action STRING,
    last_action STRING,
    first_time TIMESTAMP(3),
    actions STRING,
    amounts ARRAY<INT>,
    named ARRAY<STRING>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/kept',
    'format' = 'json'
);

INSERT INTO kept
SELECT
    `user`,
    window_end,
    FIRST_VALUE(action),
    LAST_VALUE(action),
    FIRST_VALUE(CAST(ts AS TIMESTAMP(3))),
    LISTAGG(action, ' > '),
    ARRAY_AGG(amount),
    ARRAY_AGG(NULLIF(action, 'view'))
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY `user`, window_start, window_end;

CREATE TABLE texts (
    `user` STRING,
    window_end TIMESTAMP(3),
    list STRING,
    list_with_nulls STRING,
    counted BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/texts',
    'format' = 'json'
);

INSERT INTO texts
SELECT
    `user`,
    window_end,
    JSON_ARRAYAGG(NULLIF(amount, 0)),
    JSON_ARRAYAGG(NULLIF(action, 'view') NULL ON NULL),
    COUNT(*)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY `user`, window_start, window_end;

CREATE TABLE members (
    window_end TIMESTAMP(3),
    by_time STRING,
    without_nulls STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/members',
    'format' = 'json'
);

INSERT INTO members
SELECT
    window_end,
    JSON_OBJECTAGG(KEY CONCAT(`user`, CAST(ts AS STRING)) VALUE NULLIF(amount, 0)),
    JSON_OBJECTAGG(KEY CONCAT(`user`, CAST(ts AS STRING)) VALUE NULLIF(amount, 0) ABSENT ON NULL)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
WHERE `user` IS NOT NULL
GROUP BY window_start, window_end;

CREATE TABLE collected (
    `user` STRING,
    window_end TIMESTAMP(3),
    only_action MULTISET<STRING>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/collected',
    'format' = 'json'
);

INSERT INTO collected
SELECT
    `user`,
    window_end,
    COLLECT(action) FILTER (WHERE action = 'view')
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY `user`, window_start, window_end;
