-- UNNEST of arrays: with and without a join condition, of elements that are NULL, of no elements.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE arrays (
    id INT,
    a ARRAY<INT>,
    b ARRAY<INT>,
    s ARRAY<STRING>,
    m MAP<STRING, INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/arrays.json',
    'format' = 'json'
);

SELECT id, x FROM arrays CROSS JOIN UNNEST(a) AS t (x);

SELECT id, x, y FROM arrays, UNNEST(a) AS t (x), UNNEST(s) AS u (y);

SELECT arrays.id, t.x FROM arrays LEFT JOIN UNNEST(a) AS t (x) ON TRUE;

SELECT id, x FROM arrays INNER JOIN UNNEST(b) AS t (x) ON x > 1 WHERE id > 1;

SELECT id, UPPER(y), CHAR_LENGTH(y) FROM arrays CROSS JOIN UNNEST(ARRAY_DISTINCT(s)) AS u (y) WHERE y <> 'a';

SELECT id, k, v FROM arrays CROSS JOIN UNNEST(m) AS t (k, v);

SELECT id, k, v FROM arrays LEFT JOIN UNNEST(m) AS t (k, v) ON TRUE;
