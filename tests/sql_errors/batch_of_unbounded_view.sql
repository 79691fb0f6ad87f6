CREATE TABLE t (a INT) WITH ('connector' = 'datagen');
CREATE VIEW v AS SELECT a FROM t;
SET 'execution.runtime-mode' = 'batch';
SELECT DISTINCT a FROM v;
