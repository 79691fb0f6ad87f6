CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = '/d', 'format' = 'csv', 'json.ignore-parse-errors' = 'true');
