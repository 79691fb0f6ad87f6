-- What * and row.* stand for, and the names that doubled columns get.
CREATE TABLE t (a INT, b STRING, r ROW<x INT, y ROW<z STRING>>)
WITH ('connector' = 'filesystem', 'path' = '${data}/rows_in_rows.json', 'format' = 'json');

SELECT r.* FROM t;
SELECT t.r.*, a FROM t;
SELECT t.*, r.x, t.r.y.z, (r).x, r.y.* FROM t;
CREATE VIEW doubled AS SELECT t.*, t.* FROM t;
DESCRIBE doubled;
SELECT a, a0, b0 FROM doubled;
CREATE VIEW fields AS SELECT a AS x, r.* FROM t;
DESCRIBE fields;
SELECT a0 FROM (SELECT t.*, t.* FROM t) AS q WHERE a0 > 1;
