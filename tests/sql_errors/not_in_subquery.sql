CREATE TABLE orders (id INT, placed TIMESTAMP(3), WATERMARK FOR placed AS placed) WITH ('connector' = 'datagen');
CREATE VIEW w AS SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' MINUTE));
SELECT id FROM w WHERE id NOT IN (SELECT v.id FROM w AS v WHERE v.window_start = w.window_start AND v.window_end = w.window_end);
