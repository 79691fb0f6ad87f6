-- Nothing written to parquet, and nothing but NULLs.
SET 'table.dml-sync' = 'true';

CREATE TABLE words (
    word STRING,
    n INT NOT NULL
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/words',
    'format' = 'parquet',
    'parquet.compression' = 'UNCOMPRESSED'
);

INSERT INTO words SELECT word, n FROM (VALUES ('ant', 1), (CAST(NULL AS STRING), 2), ('', 3), ('ant', 4)) AS t (word, n) WHERE n < 4;

CREATE TABLE nothing WITH ('path' = '${out}/_files/nothing', 'parquet.compression' = 'GZIP') LIKE words;

INSERT INTO nothing SELECT word, n FROM words WHERE n > 100;

CREATE TABLE nulls (
    word STRING,
    m MAP<STRING, INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/nulls',
    'format' = 'parquet'
);

INSERT INTO nulls SELECT CAST(NULL AS STRING), CAST(NULL AS MAP<STRING, INT>) FROM words;

CREATE TABLE back (
    word STRING,
    n INT,
    m MAP<STRING, INT>
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back
SELECT word, n, CAST(NULL AS MAP<STRING, INT>) FROM words
UNION ALL SELECT word, 0, m FROM nulls;
