-- UNNEST of arrays of rows: their fields become columns; of a row that is NULL all are.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE arrays (
    id INT,
    a ARRAY<INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/arrays.json',
    'format' = 'json'
);

CREATE TEMPORARY VIEW bags AS
SELECT id, ARRAY[
    CAST(ROW('one', id, 1.50) AS ROW<name STRING, n INT, price DECIMAL(5, 2)>),
    CAST(ROW('two', id * 2, CAST(NULL AS DECIMAL(5, 2))) AS ROW<name STRING, n INT, price DECIMAL(5, 2)>)
] AS items FROM arrays;

SELECT id, name, n, price FROM bags CROSS JOIN UNNEST(items) AS t (name, n, price);

SELECT id, product, amount * price FROM bags CROSS JOIN UNNEST(items) AS t (product, amount, price) WHERE amount > 2;

SELECT t.name, bags.id FROM bags LEFT JOIN UNNEST(items) AS t (name, n, price) ON TRUE WHERE t.price IS NULL;
