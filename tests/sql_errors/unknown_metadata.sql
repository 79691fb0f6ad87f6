CREATE TABLE t (a INT, name STRING METADATA FROM 'file.nam' VIRTUAL) WITH ('connector' = 'filesystem', 'path' = '/d', 'format' = 'json');
