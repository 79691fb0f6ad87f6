-- AVG of integers whose sum overflows, alone and beside one of SUM and COUNT.
-- Left out on purpose is AVG(i) beside SUM(i) and COUNT(i): Flink divides those, and wraps; here it is the mean.
CREATE TABLE readings (id INT, i INT, s SMALLINT, b BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${data}/large_readings.json', 'format' = 'json');
CREATE VIEW w AS SELECT * FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE));

SELECT window_start, AVG(i) FROM w GROUP BY window_start, window_end;
SELECT window_start, AVG(i), SUM(i) FROM w GROUP BY window_start, window_end;
SELECT window_start, AVG(i), COUNT(i) FROM w GROUP BY window_start, window_end;
SELECT window_start, AVG(i), COUNT(DISTINCT i) FROM w GROUP BY window_start, window_end;
SELECT window_start, AVG(i), SUM(i), COUNT(DISTINCT i) FROM w GROUP BY window_start, window_end;
SELECT window_start, AVG(s), SUM(s), COUNT(*) FROM w GROUP BY window_start, window_end;
SELECT window_start, AVG(DISTINCT i), SUM(DISTINCT i), COUNT(i) FROM w GROUP BY window_start, window_end;
SELECT window_start, AVG(i) FILTER (WHERE id > 1), SUM(i), COUNT(i) FROM w GROUP BY window_start, window_end;
SELECT window_start, AVG(b), SUM(b) FROM w GROUP BY window_start, window_end;
