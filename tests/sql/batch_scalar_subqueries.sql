-- Subqueries as values: of all rows, and of those with equal columns.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE l (id INT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_left.json', 'format' = 'json');
CREATE TABLE r (id BIGINT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_right.json', 'format' = 'json');

SELECT (SELECT MAX(n) FROM r);
SELECT id, (SELECT MAX(n) FROM r) AS most, (SELECT MIN(s) FROM r) || '!' FROM l;
SELECT id FROM l WHERE n > (SELECT AVG(n) FROM l);
SELECT id, (SELECT n FROM r WHERE id = 3) FROM l;
SELECT id, (SELECT n FROM r WHERE id = 33) FROM l;
SELECT id, (SELECT s FROM r WHERE id = 3), (SELECT n > 1 FROM r WHERE id = 7) FROM l;
SELECT id, (SELECT n FROM r ORDER BY n DESC LIMIT 1) FROM l;
SELECT id, (SELECT MAX(n) FROM r WHERE r.id = l.id) FROM l;
SELECT id, (SELECT COUNT(*) FROM r WHERE r.id = l.id) FROM l;
SELECT id, (SELECT COUNT(*) + 1 FROM r WHERE r.id = l.id AND r.n > 100) FROM l;
SELECT id, (SELECT COUNT(DISTINCT s) FROM r WHERE l.id = r.id), (SELECT LISTAGG(s) FROM r WHERE r.n = l.n * 10) FROM l;
SELECT id, (SELECT n FROM r WHERE r.s = l.s AND r.n < 250 AND r.n > 100) FROM l;
SELECT id, (SELECT MIN(n) FROM r WHERE r.id = l.id AND r.s = l.s) FROM l;
SELECT id FROM l WHERE n * 10 = (SELECT MIN(n) FROM r WHERE r.id = l.id);
SELECT id FROM l WHERE (SELECT COUNT(*) FROM r WHERE r.id = l.id) = 0;
SELECT id, (SELECT r.n FROM r WHERE r.id = l.id AND r.n = (SELECT MAX(n) FROM r AS q WHERE q.id = r.id)) FROM l;
SELECT s, SUM(n) FROM l GROUP BY s HAVING SUM(n) > (SELECT AVG(n) FROM l);
SELECT s, COUNT(*), (SELECT COUNT(*) FROM r) FROM l GROUP BY s;
SELECT COUNT(*), (SELECT COUNT(*) FROM r) FROM l WHERE FALSE;
SELECT SUM(n + (SELECT MIN(n) FROM r)) FROM l;
SELECT l.id, r.n FROM l, r WHERE l.id = r.id AND r.n > (SELECT AVG(n) FROM r);
SELECT CASE WHEN n > (SELECT AVG(n) FROM l) THEN 'above' ELSE 'below' END, COUNT(*) FROM l
GROUP BY CASE WHEN n > (SELECT AVG(n) FROM l) THEN 'above' ELSE 'below' END;
