-- Avro of nothing, of NULLs, and of texts in all kinds of letters.
SET 'table.dml-sync' = 'true';

CREATE TABLE texts (
    id INT,
    s STRING,
    v VARCHAR(4),
    x VARBINARY(5)
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/_files/texts',
    'format' = 'avro',
    'avro.codec' = 'snappy'
);

INSERT INTO texts VALUES
    (1, '', '', x''),
    (2, 'ß – „Zitat“ \ "quoted" 日本語 🦀', 'abcd', x'0001fffe7f'),
    (3, CAST(NULL AS STRING), CAST(NULL AS VARCHAR(4)), CAST(NULL AS VARBINARY(5))),
    (4, REPEAT('long ', 3000), 'é', x'00');

CREATE TABLE nothing WITH ('path' = '${out}/_files/nothing') LIKE texts;

INSERT INTO nothing SELECT * FROM texts WHERE id > 4;

CREATE TABLE back (
    id INT,
    s STRING,
    v STRING,
    x BYTES,
    letters INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back
SELECT id, LEFT(s, 40), v, x, CHAR_LENGTH(s) FROM texts;
