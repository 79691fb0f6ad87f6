CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = 'many');
