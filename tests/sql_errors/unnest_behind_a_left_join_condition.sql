CREATE TABLE t (id INT, a ARRAY<INT>) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
SELECT id, x FROM t LEFT JOIN UNNEST(a) AS u (x) ON x > 1;
