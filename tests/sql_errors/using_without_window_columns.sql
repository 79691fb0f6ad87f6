CREATE TABLE orders (id INT, placed TIMESTAMP(3), WATERMARK FOR placed AS placed) WITH ('connector' = 'datagen');
CREATE VIEW w AS SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' MINUTE));
SELECT * FROM w JOIN w AS v USING (id);
