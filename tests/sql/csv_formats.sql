-- The csv format: quoting (what is long or holds a character at or below the delimiter or quote), another delimiter, null literals, comments, booleans, decimals, doubles, timestamps both ways.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE reading (
    device STRING,
    ts TIMESTAMP(3),
    temperature DOUBLE,
    humidity DECIMAL(5, 1),
    battery SMALLINT,
    state STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/sensors.csv',
    'format' = 'csv',
    'csv.null-literal' = ''
);

CREATE TABLE plain (
    device STRING,
    ts TIMESTAMP(3),
    temperature DOUBLE,
    humidity DECIMAL(5, 1),
    low BOOLEAN,
    state STRING,
    `day` DATE,
    clock TIME
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/plain',
    'format' = 'csv'
);

CREATE TABLE piped (
    device STRING,
    state STRING,
    temperature DOUBLE,
    humidity DECIMAL(7, 3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/piped',
    'format' = 'csv',
    'csv.field-delimiter' = '|',
    'csv.null-literal' = 'n/a'
);

CREATE TABLE unquoted (
    device STRING,
    state STRING,
    battery SMALLINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/unquoted',
    'format' = 'csv',
    'csv.disable-quote-character' = 'true',
    'csv.field-delimiter' = ';'
);

INSERT INTO plain
SELECT device, ts, temperature, humidity, battery < 20, state, CAST(ts AS DATE), CAST(ts AS TIME) FROM reading WHERE battery < 30 OR temperature IS NULL;

INSERT INTO piped SELECT device, state, temperature * 1e6, humidity / 3 FROM reading WHERE battery BETWEEN 30 AND 50;

CREATE TABLE strings (
    id INT,
    s STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/strings.json',
    'format' = 'json'
);

CREATE TABLE texts (
    id INT,
    s STRING,
    letters STRING,
    f DOUBLE
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/texts',
    'format' = 'csv'
);

INSERT INTO unquoted SELECT device, state, battery FROM reading WHERE battery > 90;

INSERT INTO texts SELECT id, s, REPEAT('a', id), id / 4e0 FROM strings WHERE id <> 13;
