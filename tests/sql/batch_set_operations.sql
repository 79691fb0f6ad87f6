-- UNION, INTERSECT and EXCEPT, with and without ALL: NULLs are equal, types meet.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE l (id INT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_left.json', 'format' = 'json');
CREATE TABLE r (id BIGINT, s STRING, n INT)
WITH ('connector' = 'filesystem', 'path' = '${data}/pairs_right.json', 'format' = 'json');

SELECT id, s FROM l UNION SELECT id, s FROM r;
SELECT 'all', id FROM l UNION ALL SELECT 'all', id FROM r;
SELECT 'i', id, s FROM l INTERSECT SELECT 'i', id, s FROM r;
SELECT 'e', id, s FROM l EXCEPT SELECT 'e', id, s FROM r;
SELECT 're', id, s FROM r EXCEPT SELECT 're', id, s FROM l;
SELECT 'ia', v FROM (VALUES (1), (1), (2), (2), (2), (3), (CAST(NULL AS INT)), (CAST(NULL AS INT))) AS a(v)
INTERSECT ALL
SELECT 'ia', v FROM (VALUES (1), (2), (2), (4), (CAST(NULL AS INT))) AS b(v);
SELECT 'ea', v FROM (VALUES (1), (1), (2), (2), (2), (3), (CAST(NULL AS INT)), (CAST(NULL AS INT))) AS a(v)
EXCEPT ALL
SELECT 'ea', v FROM (VALUES (1), (2), (2), (4), (CAST(NULL AS INT))) AS b(v);
SELECT 'u', n FROM l UNION SELECT 'u', n FROM r INTERSECT SELECT 'u', n FROM r WHERE n > 100 EXCEPT SELECT 'u', 40;
SELECT 'types', 1 UNION SELECT 'types', CAST(2.50 AS DECIMAL(5, 2)) UNION SELECT 'longer', CAST(1 AS BIGINT);
SELECT COUNT(*) FROM (SELECT s FROM l UNION SELECT s FROM r);
SELECT 'empty', id FROM l WHERE FALSE UNION SELECT 'empty', id FROM r WHERE FALSE;
SELECT 'minus nothing', id FROM l EXCEPT SELECT 'minus nothing', id FROM r WHERE FALSE;
SELECT 'distinct', id FROM l UNION DISTINCT SELECT 'distinct', id FROM l;
