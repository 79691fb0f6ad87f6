CREATE TABLE t (`a b` INT) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'avro'
);
INSERT INTO t VALUES (1);
