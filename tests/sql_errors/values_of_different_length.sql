CREATE TABLE t (a INT, b INT) WITH ('connector' = 'print');
INSERT INTO t VALUES (1, 2), (3);
