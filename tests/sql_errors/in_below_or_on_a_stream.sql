CREATE TABLE orders (id INT, placed TIMESTAMP(3), WATERMARK FOR placed AS placed) WITH ('connector' = 'datagen');
CREATE VIEW w AS SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(placed), INTERVAL '1' MINUTE));
SELECT id FROM w WHERE id = 1 OR id IN (SELECT id FROM w);
