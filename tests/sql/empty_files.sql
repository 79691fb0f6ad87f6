-- Files without a row: a job of them ends, its windows are none, and its sinks are empty.
CREATE TABLE nothing (
    id INT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/empty.json',
    'format' = 'json'
);

CREATE TABLE words (
    word STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/empty.json',
    'format' = 'raw'
);

CREATE TABLE counted (
    n BIGINT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/counted',
    'format' = 'json'
);

INSERT INTO counted
SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE nothing, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;

INSERT INTO counted SELECT CAST(id AS BIGINT) FROM nothing WHERE id IS NULL;

INSERT INTO counted SELECT CAST(CHAR_LENGTH(word) AS BIGINT) FROM words;

SELECT * FROM words;

CREATE TABLE partitioned (
    word STRING,
    letter STRING
) PARTITIONED BY (letter) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/partitioned',
    'format' = 'csv',
    'sink.partition-commit.policy.kind' = 'success-file'
);

INSERT INTO partitioned SELECT word, LEFT(word, 1) FROM words;
