CREATE TABLE t (a INT NOT NULL, b INT) WITH ('connector' = 'print');
INSERT INTO t (b) SELECT 1;
