-- SET and RESET change the jobs that follow.
CREATE TABLE times (
    id INT,
    ms BIGINT,
    `at` AS TO_TIMESTAMP_LTZ(ms, 3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/times.json',
    'format' = 'json'
);

CREATE TABLE berlin (
    id INT,
    text STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/berlin',
    'format' = 'json'
);

CREATE TABLE tokyo (
    id INT,
    text STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/tokyo',
    'format' = 'json'
);

SET 'table.local-time-zone' = 'Europe/Berlin';
INSERT INTO berlin SELECT id, CAST(`at` AS STRING) FROM times;
SET 'table.local-time-zone' = 'Asia/Tokyo';
INSERT INTO tokyo SELECT id, CAST(`at` AS STRING) FROM times;
