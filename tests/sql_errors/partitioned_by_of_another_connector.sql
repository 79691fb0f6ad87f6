CREATE TABLE t (a INT, day STRING) PARTITIONED BY (day) WITH ('connector' = 'print');
