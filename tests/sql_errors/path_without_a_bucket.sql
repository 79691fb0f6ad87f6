CREATE TABLE t (a INT) WITH (
  'connector' = 'filesystem',
  'path' = 's3:///d',
  'format' = 'json'
);
INSERT INTO t VALUES (1);
