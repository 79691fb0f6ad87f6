CREATE TABLE t (id INT, a ARRAY<INT>) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
SELECT id, x FROM t CROSS JOIN UNNEST(id) AS u (x);
