-- The order of values of each type.
-- ordered
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE numbers (
    id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, `dec` DECIMAL(20, 6), txt STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/numbers.json',
    'format' = 'json'
);

CREATE TABLE times (id INT, d DATE, t TIME(0), ts TIMESTAMP(3), ms BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${data}/times.json', 'format' = 'json');
CREATE TABLE strings (id INT, s STRING, n INT, p STRING)
WITH ('connector' = 'filesystem', 'path' = '${data}/strings.json', 'format' = 'json');

SELECT id, t FROM numbers ORDER BY t, id;
SELECT id, b FROM numbers ORDER BY b DESC, id;
SELECT id, d FROM numbers ORDER BY d, id;
SELECT id, f FROM numbers ORDER BY f DESC, id LIMIT 12;
SELECT id, `dec` FROM numbers ORDER BY `dec`, id;
SELECT id, txt FROM numbers ORDER BY txt, id;
SELECT id, d FROM times ORDER BY d, id;
SELECT id, t FROM times ORDER BY t DESC, id;
SELECT id, ts FROM times ORDER BY ts, id;
SELECT id, s FROM strings ORDER BY s, id;
SELECT id, s FROM strings ORDER BY CHAR_LENGTH(s) DESC, s DESC, id;
SELECT id, n > 0 AS positive FROM strings ORDER BY positive, id;
SELECT id, ENCODE(s, 'UTF-8') FROM strings ORDER BY ENCODE(s, 'UTF-8') DESC, id LIMIT 6;
