CREATE TABLE t (a INT, day STRING) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'json',
  'sink.partition-commit.policy.kind' = 'success-file'
);
INSERT INTO t VALUES (1, 'x');
