CREATE TABLE t (a INT, b STRING, a BIGINT) WITH ('connector' = 'print');
