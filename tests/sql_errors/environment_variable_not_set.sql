CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = '${env:NO_SUCH_VARIABLE}/d', 'format' = 'json');
