CREATE TABLE t (a INT, s DATE METADATA FROM 'file.size' VIRTUAL) WITH ('connector' = 'filesystem', 'path' = '/d', 'format' = 'json');
