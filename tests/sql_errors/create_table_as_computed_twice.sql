CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'datagen');
CREATE TABLE u (a AS 1) WITH ('connector' = 'blackhole') AS SELECT a, b FROM t;
