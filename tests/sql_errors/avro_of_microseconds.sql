CREATE TABLE t (a TIMESTAMP(6)) WITH (
  'connector' = 'filesystem',
  'path' = '/d',
  'format' = 'avro'
);
INSERT INTO t VALUES (TIMESTAMP '2024-01-01 00:00:00');
