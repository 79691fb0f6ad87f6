CREATE TABLE t (a INT, day STRING) PARTITIONED BY (day, a) WITH (
  'connector' = 'filesystem', 'path' = '/d', 'format' = 'json'
);
