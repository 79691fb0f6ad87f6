-- CREATE TABLE ... AS SELECT with columns, keys and watermarks of its own, and with the columns in another order.
SET 'table.dml-sync' = 'true';
CREATE TABLE people (id INT, name STRING, joined STRING)
WITH ('connector' = 'filesystem', 'path' = '${data}/members.json', 'format' = 'json');

CREATE TABLE plain WITH ('connector' = 'filesystem', 'path' = '${out}/plain', 'format' = 'json') AS
SELECT id, name, id, name AS id FROM people;
DESCRIBE plain;

CREATE TABLE more (
    note STRING,
    twice AS id * 2,
    name VARCHAR(3),
    score DOUBLE COMMENT 'not known yet',
    WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${out}/more', 'format' = 'json') AS
SELECT id, name, COALESCE(CAST(joined AS TIMESTAMP(3)), TIMESTAMP '1970-01-01 00:00:00.000') AS ts FROM people;
DESCRIBE more;

CREATE TABLE wider (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '${out}/wider', 'format' = 'json') AS
SELECT name, id FROM people;
DESCRIBE wider;

CREATE TABLE turned (name, joined, id)
WITH ('connector' = 'filesystem', 'path' = '${out}/turned', 'format' = 'json') AS SELECT id, name, joined FROM people;
DESCRIBE turned;

CREATE TABLE keyed (PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = '${out}/keyed', 'format' = 'json') AS
SELECT COALESCE(id, 0) AS id, name FROM people;
DESCRIBE keyed;
