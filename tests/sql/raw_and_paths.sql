-- Lines as they are, their files, and several files read as one table.
SET 'table.dml-sync' = 'true';

CREATE TABLE parts (
    line STRING,
    kind STRING
) PARTITIONED BY (kind) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/parts',
    'format' = 'raw'
);

INSERT INTO parts PARTITION (kind = 'x') VALUES ('one'), ('two  ');
INSERT INTO parts PARTITION (kind = 'y z') VALUES ('three');
INSERT INTO parts PARTITION (kind = 'x') VALUES ('four');

CREATE TABLE back (
    kind STRING,
    line STRING,
    letters INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/back',
    'format' = 'json'
);

INSERT INTO back SELECT kind, line, CHAR_LENGTH(line) FROM parts;

CREATE TABLE inside (
    line STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/parts/kind=x',
    'format' = 'raw'
);

CREATE TABLE inside_back (
    line STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${out}/inside_back',
    'format' = 'json'
);

INSERT INTO inside_back SELECT line FROM inside;
