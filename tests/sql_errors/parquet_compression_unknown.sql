CREATE TABLE t (a INT) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'parquet',
  'parquet.compression' = 'brotli'
);
INSERT INTO t VALUES (1);
