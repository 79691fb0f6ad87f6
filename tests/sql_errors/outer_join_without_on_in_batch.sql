SET 'execution.runtime-mode' = 'batch';
CREATE TABLE orders (
  id INT,
  customer STRING,
  price DECIMAL(8, 2),
  quantity INT,
  placed TIMESTAMP(3),
  address ROW<city STRING, zip STRING>,
  tags ARRAY<STRING>,
  WATERMARK FOR placed AS placed - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '/data/orders', 'format' = 'json');
SELECT * FROM orders AS a LEFT JOIN orders AS b;
