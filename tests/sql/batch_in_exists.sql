-- IN and EXISTS, of subqueries that know the query around them and of others.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE l (id INT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_left.json', 'format' = 'json');
CREATE TABLE r (id BIGINT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_right.json', 'format' = 'json');

SELECT l.* FROM l WHERE id IN (SELECT id FROM r);
SELECT l.* FROM l WHERE id IN (SELECT id FROM r WHERE n > 100);
SELECT l.* FROM l WHERE n IN (SELECT MAX(n) FROM r UNION ALL SELECT MIN(n) FROM r);
SELECT l.* FROM l WHERE id IN (SELECT id FROM r GROUP BY id HAVING COUNT(*) > 1);
SELECT l.* FROM l WHERE (id, s) IN (SELECT id, s FROM r);
SELECT l.* FROM l WHERE id IN (SELECT r.id FROM r WHERE r.s = l.s);
SELECT l.* FROM l WHERE EXISTS (SELECT * FROM r WHERE r.id = l.id);
SELECT l.* FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.n > l.n AND r.id = l.id + 1);
SELECT l.* FROM l WHERE EXISTS (SELECT * FROM r WHERE n > 1000);
SELECT l.* FROM l WHERE EXISTS (SELECT * FROM r WHERE n = 20);
SELECT l.* FROM l WHERE id IN (SELECT id FROM r) AND EXISTS (SELECT * FROM r WHERE r.s = l.s) AND n > 10;
SELECT s, COUNT(*) FROM l WHERE id IN (SELECT id FROM r) GROUP BY s;
SELECT l.* FROM l WHERE id IN (SELECT id FROM r WHERE s IN (SELECT s FROM l WHERE n = 10));
SELECT l.id, r.id FROM l, r WHERE l.id = r.id AND l.s IN (SELECT s FROM r WHERE n < 300);
SELECT l.* FROM l WHERE id IN (SELECT id FROM r WHERE FALSE);
