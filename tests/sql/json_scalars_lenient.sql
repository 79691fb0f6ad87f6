-- What the json source makes of scalars of other types, too large, too small or in other forms, with
-- json.ignore-parse-errors: what cannot be read is NULL.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE odd (
    n INT,
    ti TINYINT,
    si SMALLINT,
    f FLOAT,
    dc DECIMAL(38, 1),
    s STRING,
    d DATE,
    t TIME(3),
    b BYTES
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/scalars_odd.json',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true'
);

CREATE TABLE seen (
    n INT,
    ti TINYINT,
    si SMALLINT,
    f FLOAT,
    dc DECIMAL(38, 1),
    s STRING,
    d DATE,
    t TIME(3),
    b BYTES
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/seen',
    'format' = 'json',
    'json.encode.decimal-as-plain-number' = 'true'
);

INSERT INTO seen SELECT * FROM odd;
