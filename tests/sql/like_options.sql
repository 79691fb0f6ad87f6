-- CREATE TABLE LIKE: what is taken over of options, constraints, computed columns and watermarks, and what SHOW and DESCRIBE say of it.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE base (
    id INT,
    name STRING,
    price DECIMAL(8, 2),
    cost AS price * 2,
    placed TIMESTAMP(3),
    PRIMARY KEY (id) NOT ENFORCED,
    WATERMARK FOR placed AS placed - INTERVAL '5' SECOND
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json',
    'source.monitor-interval' = '5 s'
);

CREATE TABLE all_of_it LIKE base;
DESCRIBE all_of_it;

CREATE TABLE no_options (
    extra BIGINT
) WITH (
    'connector' = 'blackhole'
) LIKE base (EXCLUDING OPTIONS);
DESCRIBE no_options;

CREATE TABLE physical_only (
    note STRING
) WITH (
    'connector' = 'datagen'
) LIKE base (EXCLUDING ALL);
DESCRIBE physical_only;

CREATE TABLE other_cost (
    cost AS price + 1,
    WATERMARK FOR placed AS placed - INTERVAL '1' MINUTE
) WITH (
    'path' = '/elsewhere'
) LIKE base (
    OVERWRITING GENERATED
    OVERWRITING WATERMARKS
    EXCLUDING CONSTRAINTS
    OVERWRITING OPTIONS
);
DESCRIBE other_cost;

CREATE TABLE other_key (
    extra INT NOT NULL,
    PRIMARY KEY (extra) NOT ENFORCED
) LIKE base (EXCLUDING CONSTRAINTS EXCLUDING GENERATED);
DESC other_key;

SHOW TABLES;
