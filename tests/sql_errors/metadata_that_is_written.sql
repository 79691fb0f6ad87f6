CREATE TABLE t (a INT, name STRING METADATA FROM 'file.name') WITH ('connector' = 'filesystem', 'path' = '/d', 'format' = 'json');
INSERT INTO t SELECT 1;
