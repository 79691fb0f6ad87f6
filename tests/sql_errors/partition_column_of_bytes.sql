CREATE TABLE t (a INT, b BYTES) PARTITIONED BY (b) WITH (
  'connector' = 'filesystem', 'path' = '/d', 'format' = 'json'
);
INSERT INTO t VALUES (1, x'00');
