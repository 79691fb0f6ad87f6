-- NOT IN with NULLs on both sides, NOT EXISTS.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE l (id INT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_left.json', 'format' = 'json');
CREATE TABLE r (id BIGINT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_right.json', 'format' = 'json');

CREATE VIEW clean AS SELECT * FROM r WHERE id IS NOT NULL AND s IS NOT NULL;

SELECT 'null among them', l.* FROM l WHERE id NOT IN (SELECT id FROM r);
SELECT 'none is null', l.* FROM l WHERE id NOT IN (SELECT id FROM clean);
SELECT 'of nothing', l.* FROM l WHERE id NOT IN (SELECT id FROM r WHERE n < 0);
SELECT 'not null', l.* FROM l WHERE COALESCE(id, 0) NOT IN (SELECT COALESCE(id, 9) FROM r);
SELECT 'correlated', l.* FROM l WHERE id NOT IN (SELECT r.id FROM r WHERE r.s = l.s);
SELECT 'correlated 2', l.* FROM l WHERE n NOT IN (SELECT r.n FROM r WHERE r.id > l.id);
SELECT 'negated', l.* FROM l WHERE NOT (id IN (SELECT id FROM clean));
SELECT 'not exists', l.* FROM l WHERE NOT EXISTS (SELECT * FROM r WHERE r.id = l.id);
SELECT 'not exists 2', l.* FROM l WHERE NOT EXISTS (SELECT * FROM r WHERE r.id = l.id AND r.n > 150);
SELECT 'exists none', l.* FROM l WHERE NOT EXISTS (SELECT * FROM r WHERE n < 0);
SELECT 'exists some', l.* FROM l WHERE NOT EXISTS (SELECT * FROM r WHERE n > 0);
SELECT 'both', l.* FROM l WHERE id NOT IN (SELECT id FROM clean WHERE n > 150) AND s NOT IN (SELECT s FROM clean WHERE n < 100);
