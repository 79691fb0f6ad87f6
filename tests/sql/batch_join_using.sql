-- USING and NATURAL: columns that both sides have come first, and once.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE l (id INT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_left.json', 'format' = 'json');
CREATE TABLE r (id BIGINT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_right.json', 'format' = 'json');
CREATE VIEW m AS SELECT id, s AS t, n AS m FROM r;

SELECT * FROM l JOIN m USING (id);
SELECT * FROM l JOIN r USING (s, id);
SELECT * FROM l LEFT JOIN m USING (id);
SELECT * FROM l RIGHT JOIN m USING (id);
SELECT * FROM l FULL JOIN m USING (id);
SELECT * FROM l FULL JOIN r USING (id, s);
SELECT * FROM l NATURAL JOIN (SELECT id, s, n AS m FROM r);
SELECT * FROM l NATURAL LEFT JOIN (SELECT id, s, n AS m FROM r);
SELECT * FROM l NATURAL RIGHT JOIN m;
SELECT * FROM l NATURAL FULL JOIN m;
SELECT * FROM l NATURAL JOIN (VALUES (1, 'one'), (2, 'two')) AS v(x, w);
SELECT id FROM l FULL JOIN m USING (id);
SELECT l.*, m FROM l JOIN m USING (id);
SELECT l.id, m.id, id FROM l RIGHT JOIN m USING (id);
SELECT id, COUNT(*), SUM(m) FROM l JOIN m USING (id) GROUP BY id HAVING COUNT(*) > 1;
SELECT MAX(id), COUNT(id) FROM l RIGHT JOIN m USING (id);
SELECT id, n FROM l JOIN m USING (id) ORDER BY id DESC, n LIMIT 2;
SELECT * FROM l JOIN m USING (id) JOIN (VALUES (1, 'one'), (2, 'two')) AS v(id, w) USING (id);
SELECT * FROM l FULL JOIN m USING (id) FULL JOIN (VALUES (1, 'one'), (9, 'nine')) AS v(id, w) USING (id);
SELECT a.n, b.n, s FROM l AS a JOIN l AS b USING (id, s) WHERE a.n < b.n;
SELECT id FROM l JOIN m USING (id) WHERE EXISTS (SELECT * FROM r AS q WHERE q.id = l.id);
