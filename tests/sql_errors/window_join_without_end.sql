CREATE TABLE orders (id INT, placed TIMESTAMP(3), WATERMARK FOR placed AS placed) WITH ('connector' = 'datagen');
CREATE VIEW w AS SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' MINUTE));
SELECT a.id FROM w AS a JOIN w AS b ON a.window_start = b.window_start AND a.id = b.id;
