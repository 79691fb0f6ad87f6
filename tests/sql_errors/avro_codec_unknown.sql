CREATE TABLE t (a INT) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'avro',
  'avro.codec' = 'xz'
);
INSERT INTO t VALUES (1);
