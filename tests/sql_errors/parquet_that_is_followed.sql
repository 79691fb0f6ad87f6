CREATE TABLE t (a INT) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'source.monitor-interval' = '1 s',
  'source.follow' = 'true',
  'format' = 'parquet'
);
SELECT * FROM t;
