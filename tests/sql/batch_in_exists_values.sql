-- IN and EXISTS below OR, NOT and CASE, and as columns.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE l (id INT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_left.json', 'format' = 'json');
CREATE TABLE r (id BIGINT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_right.json', 'format' = 'json');

SELECT id, id IN (SELECT id FROM r) FROM l;
SELECT id, id NOT IN (SELECT id FROM r WHERE id IS NOT NULL) FROM l;
SELECT id, id IN (SELECT id FROM r WHERE FALSE), id IN (SELECT id FROM r WHERE id IS NULL) FROM l;
SELECT id, EXISTS (SELECT * FROM r WHERE r.id = l.id) FROM l;
SELECT id, NOT EXISTS (SELECT * FROM r WHERE r.id = l.id) FROM l;
SELECT id, EXISTS (SELECT * FROM r WHERE n > 1000), EXISTS (SELECT * FROM r WHERE n > 100) FROM l;
SELECT id FROM l WHERE id IN (SELECT id FROM r) OR n > 30;
SELECT id FROM l WHERE id IN (SELECT id FROM r) OR s IN (SELECT s FROM r WHERE n < 200);
SELECT id FROM l WHERE EXISTS (SELECT * FROM r WHERE r.id = l.id AND r.n > 150) OR n > 30;
SELECT id FROM l WHERE EXISTS (SELECT * FROM r WHERE r.n > 1000) OR n > 30;
SELECT id FROM l WHERE id NOT IN (SELECT id FROM r) OR n > 30;
SELECT id FROM l WHERE NOT (id IN (SELECT id FROM r) OR n > 30);
SELECT id FROM l WHERE n > 30 OR (id IN (SELECT id FROM r WHERE r.s = l.s) AND n < 20);
SELECT id, id IN (SELECT id FROM r WHERE r.s = l.s) FROM l;
SELECT CASE WHEN id IN (SELECT id FROM r WHERE id IS NOT NULL) THEN 'in' ELSE 'out' END, id FROM l;
SELECT s, COUNT(*) FILTER (WHERE id IN (SELECT id FROM r)) FROM l GROUP BY s;
