-- METADATA columns of files: name and size, computed columns over them, casts to other types.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE orders (
    id INT,
    `file.name` STRING NOT NULL METADATA,
    size_in_bytes INT METADATA FROM 'file.size' VIRTUAL,
    place AS REPLACE(`file.name`, '.json', ''),
    customer STRING,
    `file.path` STRING NOT NULL METADATA VIRTUAL,
    `file.modification-time` TIMESTAMP_LTZ(3) NOT NULL METADATA VIRTUAL
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);
DESCRIBE orders;

CREATE TABLE outcome (
    id INT,
    name STRING,
    size_in_bytes INT,
    place STRING,
    customer STRING,
    ending BOOLEAN,
    recent BOOLEAN
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/outcome',
    'format' = 'json'
);

INSERT INTO outcome
SELECT id, `file.name`, size_in_bytes, place, customer, `file.path` LIKE '%/orders.json', CAST(`file.modification-time` AS DATE) > DATE '2020-01-01'
FROM orders WHERE id <= 5 OR size_in_bytes < 10;
CREATE TABLE counted (
    name STRING,
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/counted',
    'format' = 'json'
);

CREATE VIEW named AS SELECT `file.name` AS name FROM orders;
INSERT INTO counted SELECT name, 1 FROM named;
