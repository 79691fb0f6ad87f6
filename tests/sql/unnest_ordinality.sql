-- UNNEST WITH ORDINALITY, of constants, and of what is made in the query.
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE arrays (
    id INT,
    a ARRAY<INT>,
    s ARRAY<STRING>,
    m MAP<STRING, INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/arrays.json',
    'format' = 'json'
);

SELECT id, x, n FROM arrays CROSS JOIN UNNEST(a) WITH ORDINALITY AS t (x, n);

SELECT id, x, n FROM arrays LEFT JOIN UNNEST(s) WITH ORDINALITY AS t (x, n) ON TRUE;

SELECT id, x, n * 10 FROM arrays CROSS JOIN UNNEST(a) WITH ORDINALITY AS t (x, n) WHERE n > 1;

SELECT * FROM UNNEST(ARRAY[3, 1, 2]) AS t (x);

SELECT x + 1, y FROM UNNEST(ARRAY[1, 2]) AS t (x) CROSS JOIN UNNEST(ARRAY['a', CAST(NULL AS STRING)]) AS u (y);

SELECT id, w FROM arrays CROSS JOIN UNNEST(ARRAY[CARDINALITY(a), CARDINALITY(s), id]) AS t (w);
