CREATE TABLE t (a INT, day STRING) PARTITIONED BY (dya) WITH (
  'connector' = 'filesystem', 'path' = '/d', 'format' = 'json'
);
