-- Partitions are committed by a file in them, those that were written again once more.
SET 'table.dml-sync' = 'true';

CREATE TABLE orders (
    id BIGINT,
    price DECIMAL(10, 2),
    kind STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE words (
    word STRING,
    letter STRING
) PARTITIONED BY (letter) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/words',
    'format' = 'json',
    'sink.partition-commit.policy.kind' = 'success-file'
);

INSERT INTO words VALUES ('ant', 'a'), ('bee', 'b'), ('asp', 'a');

INSERT INTO words VALUES ('bat', 'b'), ('cat', 'c');

CREATE TABLE named (
    word STRING,
    letter STRING
) PARTITIONED BY (letter) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/named',
    'format' = 'csv',
    'partition.default-name' = 'nobody',
    'sink.partition-commit.trigger' = 'process-time',
    'sink.partition-commit.delay' = '1 h',
    'sink.partition-commit.policy.kind' = 'success-file',
    'sink.partition-commit.success-file.name' = '_DONE'
);

INSERT INTO named VALUES ('ant', 'a'), ('bee', CAST(NULL AS STRING));

-- Reading looks over the marks.
CREATE TABLE back (
    word STRING,
    letter STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back SELECT word, letter FROM words;
