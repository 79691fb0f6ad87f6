CREATE TABLE orders (id INT, placed TIMESTAMP(3), WATERMARK FOR placed AS placed) WITH ('connector' = 'datagen');
SELECT * FROM orders TABLESAMPLE BERNOULLI(10);
