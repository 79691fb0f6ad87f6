CREATE TABLE t (a INT, day STRING) PARTITIONED BY (day) WITH (
  'connector' = 'filesystem', 'path' = '/d', 'format' = 'json'
);
ALTER TABLE t DROP day;
