CREATE TABLE t (a INT, day STRING) PARTITIONED BY (day) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'json',
  'partition.time-extractor.timestamp-formatter' = 'yyyy-MM-dd ''at',
  'sink.partition-commit.policy.kind' = 'success-file'
);
INSERT INTO t VALUES (1, 'x');
