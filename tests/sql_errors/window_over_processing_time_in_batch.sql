SET 'execution.runtime-mode' = 'batch';
CREATE TABLE t (a INT, p AS PROCTIME()) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(p), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
