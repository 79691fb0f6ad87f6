-- Partitions that the INSERT names: all of them, some of them, with values of other types.
SET 'table.dml-sync' = 'true';

CREATE TABLE logs (
    id INT,
    message STRING,
    level STRING,
    hr INT
) PARTITIONED BY (level, hr) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/logs',
    'format' = 'csv'
);

INSERT INTO logs PARTITION (level = 'info', hr = 7) VALUES (1, 'a'), (2, 'b');

INSERT INTO logs PARTITION (level = 'warn') SELECT id, message, hr FROM (VALUES (3, 'c', 8), (4, 'd', 9), (5, 'e', CAST(NULL AS INT))) AS t (id, message, hr);

INSERT INTO logs PARTITION (level = 'info', hr = 7) (message, id) VALUES ('f', 6);

INSERT INTO logs PARTITION (hr = 23, level = 'error') VALUES (7, CAST(NULL AS STRING));

CREATE TABLE back (
    hr INT,
    n INT,
    level STRING,
    message STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back SELECT hr + 1, id * 10, level, message FROM logs WHERE hr > 7 OR level = 'info';
