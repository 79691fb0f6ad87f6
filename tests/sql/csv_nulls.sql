-- NULL, empty and blank in csv: with and without a literal for NULL, in columns of every kind.
SET 'table.dml-sync' = 'true';

CREATE TABLE words (
    id INT,
    s STRING,
    n INT,
    b BOOLEAN,
    d DECIMAL(6, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/words',
    'format' = 'csv',
    'csv.null-literal' = 'NULL'
);

INSERT INTO words VALUES
    (1, 'a,b', 1, TRUE, 1.50),
    (2, '', CAST(NULL AS INT), FALSE, CAST(NULL AS DECIMAL(6, 2))),
    (3, CAST(NULL AS STRING), -3, CAST(NULL AS BOOLEAN), -0.01),
    (4, 'NULL', 4, TRUE, 0.00),
    (5, ' x ', 5, TRUE, 9999.99),
    (6, 'quote " and ''', 6, FALSE, 1.00);

CREATE TABLE back (
    id INT,
    s STRING,
    n INT,
    b BOOLEAN,
    d DECIMAL(6, 2)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back SELECT * FROM words;
