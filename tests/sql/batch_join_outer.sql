-- Outer joins: rows without a partner once, with NULLs; conditions on one side in ON and in WHERE.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE l (id INT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_left.json', 'format' = 'json');
CREATE TABLE r (id BIGINT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_right.json', 'format' = 'json');

SELECT 'inner', l.*, r.* FROM l INNER JOIN r ON l.id = r.id;
SELECT 'left', l.*, r.* FROM l LEFT JOIN r ON l.id = r.id;
SELECT 'right', l.*, r.* FROM l RIGHT JOIN r ON l.id = r.id;
SELECT 'full', l.*, r.* FROM l FULL JOIN r ON l.id = r.id;
SELECT 'inner', l.*, r.* FROM l INNER JOIN r ON l.id = r.id AND l.s = r.s;
SELECT 'left', l.*, r.* FROM l LEFT JOIN r ON l.id = r.id AND l.s = r.s;
SELECT 'right', l.*, r.* FROM l RIGHT JOIN r ON l.id = r.id AND l.s = r.s;
SELECT 'full', l.*, r.* FROM l FULL JOIN r ON l.id = r.id AND l.s = r.s;
SELECT 'inner', l.*, r.* FROM l INNER JOIN r ON l.id = r.id AND r.n > 150;
SELECT 'left', l.*, r.* FROM l LEFT JOIN r ON l.id = r.id AND r.n > 150;
SELECT 'right', l.*, r.* FROM l RIGHT JOIN r ON l.id = r.id AND r.n > 150;
SELECT 'full', l.*, r.* FROM l FULL JOIN r ON l.id = r.id AND r.n > 150;
SELECT 'inner', l.*, r.* FROM l INNER JOIN r ON l.id = r.id AND l.n < 21;
SELECT 'left', l.*, r.* FROM l LEFT JOIN r ON l.id = r.id AND l.n < 21;
SELECT 'right', l.*, r.* FROM l RIGHT JOIN r ON l.id = r.id AND l.n < 21;
SELECT 'full', l.*, r.* FROM l FULL JOIN r ON l.id = r.id AND l.n < 21;
SELECT 'inner', l.*, r.* FROM l INNER JOIN r ON l.n > r.n;
SELECT 'left', l.*, r.* FROM l LEFT JOIN r ON l.n > r.n;
SELECT 'right', l.*, r.* FROM l RIGHT JOIN r ON l.n > r.n;
SELECT 'full', l.*, r.* FROM l FULL JOIN r ON l.n > r.n;

SELECT l.id, r.id FROM l LEFT JOIN r ON l.id = r.id WHERE r.id IS NULL;
SELECT l.id, r.id FROM l LEFT JOIN r ON l.id = r.id WHERE r.n > 100;
SELECT l.id, r.id FROM l FULL JOIN r ON l.id = r.id WHERE l.n IS NULL;
SELECT a.id, b.id, c.id FROM l AS a LEFT JOIN r AS b ON a.id = b.id FULL OUTER JOIN r AS c ON b.n = c.n;
SELECT l.id, COALESCE(x.c, 0) FROM l LEFT JOIN (SELECT id, COUNT(*) AS c FROM r GROUP BY id) AS x ON l.id = x.id;
SELECT l.id, nothing.k FROM l LEFT JOIN (SELECT id AS k FROM r WHERE n < 0) AS nothing ON l.id = nothing.k;
SELECT nothing.k, r.n FROM (SELECT id AS k FROM l WHERE n < 0) AS nothing RIGHT JOIN r ON nothing.k = r.id;
SELECT COUNT(*) FROM (SELECT id AS k FROM l WHERE n < 0) AS a FULL JOIN (SELECT id AS m FROM r WHERE n < 0) AS b ON a.k = b.m;
