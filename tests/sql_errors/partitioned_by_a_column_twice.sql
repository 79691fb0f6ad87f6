CREATE TABLE t (a INT, day STRING) PARTITIONED BY (day, day) WITH (
  'connector' = 'filesystem', 'path' = '/d', 'format' = 'json'
);
