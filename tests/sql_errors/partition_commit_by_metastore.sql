CREATE TABLE t (a INT, day STRING) PARTITIONED BY (day) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'json',
  'sink.partition-commit.policy.kind' = 'metastore,success-file'
);
INSERT INTO t VALUES (1, 'x');
