CREATE TABLE t (a INT) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'avro',
  'avro.encoding' = 'json'
);
INSERT INTO t VALUES (1);
