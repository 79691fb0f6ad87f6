-- Inner joins: several keys, keys of unlike types, NULL keys meet nobody, other conditions, no keys.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE l (id INT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_left.json', 'format' = 'json');
CREATE TABLE r (id BIGINT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_right.json', 'format' = 'json');

SELECT l.id, l.s, r.s, r.n FROM l JOIN r ON l.id = r.id;
SELECT l.*, r.n FROM l INNER JOIN r ON l.id = r.id AND l.s = r.s;
SELECT l.n, r.n FROM l JOIN r ON l.s = r.s WHERE l.n < r.n;
SELECT l.id, r.id FROM l JOIN r ON l.id < r.id;
SELECT l.id, r.id FROM l JOIN r ON l.id = r.id AND l.n * 10 < r.n + 1;
SELECT l.id, r.id FROM l JOIN r ON l.id + 1 = r.id AND l.s IS NOT NULL AND r.n > 0;
SELECT l.s, r.s FROM l JOIN r ON l.id = r.id OR l.n = r.n;
SELECT COUNT(*) FROM l CROSS JOIN r;
SELECT COUNT(*) FROM l, r;
SELECT l.id, r.n FROM l, r WHERE l.id = r.id AND r.n > 100;
SELECT a.id, b.id, c.id FROM l AS a, l AS b, r AS c WHERE a.id = b.id AND b.id = c.id AND a.n < b.n;
SELECT a.n, b.n, c.n FROM l AS a JOIN l AS b ON a.id = b.id JOIN r AS c ON b.s = c.s;
SELECT l.id FROM l JOIN r ON l.s IS NOT DISTINCT FROM r.s;
SELECT x.id, y.n FROM (SELECT id, SUM(n) AS n FROM l GROUP BY id) AS x JOIN (SELECT id, MAX(n) AS n FROM r GROUP BY id) AS y ON x.id = y.id;
SELECT * FROM l JOIN (SELECT id AS k, n AS m FROM r WHERE FALSE) AS nothing ON l.id = nothing.k;
