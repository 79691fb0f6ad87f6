CREATE TABLE t (a INT) WITH (
  'connector' = 'filesystem',
  'path' = 's3://bucket/d',
  'source.monitor-interval' = '1 s',
  'source.follow' = 'true',
  'format' = 'json'
);
SELECT * FROM t;
