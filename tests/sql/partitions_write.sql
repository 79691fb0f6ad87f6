-- A partitioned table: directories by Hive's names and escapes, without the partition columns in the files; read back, columns come from the paths.
SET 'table.dml-sync' = 'true';

CREATE TABLE sales (
    amount DECIMAL(10, 2),
    country STRING,
    item STRING,
    dt STRING
) PARTITIONED BY (dt, country) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/sales',
    'format' = 'json'
);

INSERT INTO sales VALUES
    (1.50, 'de', 'tea', '2024-01-01'),
    (2.00, 'de', 'ham', '2024-01-01'),
    (3.25, 'fr', 'tea', '2024-01-01'),
    (4.00, CAST(NULL AS STRING), 'tea', '2024-01-02'),
    (5.00, '', 'pen', '2024-01-02'),
    (6.00, 'a=b/c:d%e#f', 'pen', '2024-01-02'),
    (7.00, 'Ångström ☂ 𝒳', 'jam', '2024-01-03'),
    (8.00, ' x "y" ''z'' *?<>|\[]{}^~', 'jam', '2024-01-03'),
    (9.00, '.hidden', CAST(NULL AS STRING), CAST(NULL AS STRING));

CREATE TABLE known WITH ('path' = '${out}/known') LIKE sales;

INSERT INTO known VALUES
    (1.50, 'de', 'tea', '2024-01-01'),
    (3.25, 'fr', 'tea', '2024-01-01'),
    (5.00, 'a=b/c:d%e#f', 'pen', '2024-01-02'),
    (7.00, 'Ångström ☂ 𝒳', 'jam', '2024-01-03'),
    (8.00, ' x "y" ''z'' *?<>|\[]{}^~', CAST(NULL AS STRING), '2024-01-03');

CREATE TABLE back (
    line STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'raw'
);

INSERT INTO back
SELECT CONCAT_WS('|', COALESCE(dt, 'null'), COALESCE('<' || country || '>', 'null'), COALESCE(item, 'null'), CAST(amount AS STRING)) FROM known;

-- Only columns of the path.
CREATE TABLE days (
    dt STRING,
    country STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/days',
    'format' = 'json'
);

INSERT INTO days SELECT dt, country FROM known WHERE dt >= '2024-01-02';
