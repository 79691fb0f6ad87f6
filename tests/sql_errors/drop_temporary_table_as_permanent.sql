CREATE TEMPORARY TABLE t (a INT) WITH ('connector' = 'print');
DROP TABLE t;
