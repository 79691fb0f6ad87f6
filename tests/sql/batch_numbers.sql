-- Sums, averages and extremes of every numeric type, grouped by a number and of all.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE numbers (
    id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, `dec` DECIMAL(20, 6), txt STRING
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/numbers.json',
    'format' = 'json'
);

SELECT SUM(t), SUM(s), SUM(i), SUM(b), SUM(`dec`), AVG(t), AVG(s), AVG(i), AVG(`dec`) FROM numbers WHERE id < 8;
SELECT MIN(t), MAX(t), MIN(s), MAX(s), MIN(i), MAX(i), MIN(b), MAX(b), MIN(f), MAX(f), MIN(d), MAX(d), MIN(`dec`), MAX(`dec`) FROM numbers;
SELECT MOD(id, 3) AS k, COUNT(t), COUNT(*), SUM(CAST(t AS INT)), MIN(txt), MAX(`dec`) FROM numbers GROUP BY MOD(id, 3);
SELECT t, COUNT(*) FROM numbers GROUP BY t;
SELECT d, COUNT(*) FROM numbers WHERE id < 6 GROUP BY d;
SELECT `dec`, COUNT(*) FROM numbers GROUP BY `dec`;
SELECT ROUND(AVG(d), 6), ROUND(STDDEV_POP(i), 6) FROM numbers WHERE id < 4;
