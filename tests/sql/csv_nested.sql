-- Nested values, bytes, decimals and null literals written as csv.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE source (
    n INT,
    l ARRAY<INT>,
    r ROW<x INT, y STRING>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/nested_odd.json',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true'
);

CREATE TABLE plain (
    n INT,
    l ARRAY<INT>,
    r ROW<x INT, y STRING>,
    b VARBINARY(10),
    d DECIMAL(12, 3),
    s STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/plain',
    'format' = 'csv'
);

CREATE TABLE marked (
    n INT,
    l ARRAY<INT>,
    r ROW<x INT, y STRING>,
    b VARBINARY(10),
    d DECIMAL(12, 3),
    s STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/marked',
    'format' = 'csv',
    'csv.null-literal' = 'none',
    'csv.array-element-delimiter' = '+',
    'csv.quote-character' = '''',
    'csv.escape-character' = '\',
    'csv.field-delimiter' = '\u0009'
);

INSERT INTO plain
SELECT n, l, r, ENCODE(CAST(n AS STRING), 'UTF-8'), n * 1000.0, 'it''s "' || CAST(n AS STRING) || '"' FROM source WHERE n <> 2;

INSERT INTO marked
SELECT n, l, r, ENCODE(CAST(n AS STRING), 'UTF-8'), n * 1000.0, 'it''s "' || CAST(n AS STRING) || '"' FROM source WHERE n NOT IN (2, 3, 5, 6);
