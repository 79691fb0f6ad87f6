-- Fields of avro files are found by their names: other orders and some of them; files of every codec.
SET 'table.dml-sync' = 'true';

CREATE TABLE files (
    id INT NOT NULL,
    name STRING,
    price DECIMAL(10, 2),
    tags ARRAY<STRING>,
    attributes MAP<STRING, ROW<n INT, s STRING>>,
    placed TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/all',
    'format' = 'avro'
);

INSERT INTO files VALUES
    (1, 'tea', 1.50, ARRAY['hot', 'wet'], MAP['a', ROW(1, 'x')], TIMESTAMP '2024-01-01 00:00:00'),
    (2, 'ham', -2.25, ARRAY['cold'], CAST(NULL AS MAP<STRING, ROW<n INT, s STRING>>), TIMESTAMP '2024-01-01 00:00:30'),
    (3, CAST(NULL AS STRING), CAST(NULL AS DECIMAL(10, 2)), CAST(NULL AS ARRAY<STRING>), MAP['b', ROW(-1, CAST(NULL AS STRING))], TIMESTAMP '2024-01-01 00:01:00');

CREATE TABLE packed WITH ('path' = '${out}/_files/packed', 'avro.codec' = 'deflate') LIKE files;
CREATE TABLE plain WITH ('path' = '${out}/_files/plain', 'avro.codec' = 'null') LIKE files;

INSERT INTO packed SELECT id + 10, name, price, tags, attributes, placed FROM files;
INSERT INTO plain SELECT id + 10, name, price, tags, attributes, placed FROM packed;

CREATE TABLE other (
    placed TIMESTAMP(3),
    name STRING,
    id INT NOT NULL
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/plain',
    'format' = 'avro'
);

CREATE TABLE back (
    id INT,
    name STRING,
    placed TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back SELECT id, name, placed FROM other;

CREATE TABLE everything (
    id INT,
    name STRING,
    price DECIMAL(10, 2),
    tags ARRAY<STRING>,
    attributes MAP<STRING, ROW<n INT, s STRING>>,
    placed TIMESTAMP(3)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/everything',
    'format' = 'json'
);

INSERT INTO everything SELECT * FROM files UNION ALL SELECT * FROM plain;
