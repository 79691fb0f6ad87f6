CREATE TABLE orders (id INT, placed TIMESTAMP(3), WATERMARK FOR placed AS placed) WITH ('connector' = 'datagen');
SELECT * FROM orders MATCH_RECOGNIZE (ORDER BY placed MEASURES A.id AS a PATTERN (A B) DEFINE B AS B.id > A.id);
