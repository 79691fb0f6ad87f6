CREATE TABLE t (a INT, day STRING) PARTITIONED BY (day) WITH (
  'connector' = 'filesystem', 'path' = '/d', 'format' = 'json'
);
INSERT INTO t PARTITION (dya = 'x') VALUES (1);
