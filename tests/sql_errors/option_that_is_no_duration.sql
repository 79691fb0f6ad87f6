CREATE TABLE t (a INT) WITH (
  'connector' = 'filesystem', 'path' = '/d', 'format' = 'json',
  'source.monitor-interval' = '5 parsecs'
);
