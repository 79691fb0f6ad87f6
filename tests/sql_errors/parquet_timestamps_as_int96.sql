CREATE TABLE t (a TIMESTAMP(3)) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'parquet',
  'parquet.write.int64.timestamp' = 'false'
);
INSERT INTO t VALUES (TIMESTAMP '2024-01-01 00:00:00');
