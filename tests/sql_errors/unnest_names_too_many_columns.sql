CREATE TABLE t (id INT, m MAP<STRING, INT>) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
SELECT id, k FROM t CROSS JOIN UNNEST(m) AS u (k, v, n);
