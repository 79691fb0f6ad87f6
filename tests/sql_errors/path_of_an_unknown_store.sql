CREATE TABLE t (a INT) WITH (
  'connector' = 'filesystem',
  'path' = 'hdfs://namenode/d',
  'format' = 'json'
);
INSERT INTO t VALUES (1);
