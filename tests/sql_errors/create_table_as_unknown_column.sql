CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'datagen');
CREATE TABLE u (b, c) WITH ('connector' = 'blackhole') AS SELECT a, b FROM t;
