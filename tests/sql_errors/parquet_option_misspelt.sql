CREATE TABLE t (a INT) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'parquet',
  'parquet.compresion' = 'SNAPPY'
);
