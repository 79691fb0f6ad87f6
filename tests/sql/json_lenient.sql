-- What the json source makes of values of another type, of missing, doubled and unknown fields and of
-- lines that are no json, with json.ignore-parse-errors: what cannot be read is NULL, or the line is skipped.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE odd (
    n INT,
    i INT,
    b BIGINT,
    d DOUBLE,
    s STRING,
    t BOOLEAN,
    `dec` DECIMAL(8, 2),
    ts TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/odd.json',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true'
);

CREATE TABLE seen (
    n INT,
    i INT,
    b BIGINT,
    d STRING,
    s STRING,
    t BOOLEAN,
    `dec` DECIMAL(8, 2),
    ts TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/seen',
    'format' = 'json'
);

INSERT INTO seen
SELECT n, i, b, CAST(d AS STRING) AS d, s, t, `dec`, ts FROM odd;
