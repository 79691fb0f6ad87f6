SET 'execution.runtime-mode' = 'batch';
CREATE TABLE orders (id INT, customer STRING, price DECIMAL(8, 2)) WITH ('connector' = 'filesystem', 'path' = '/data/orders', 'format' = 'json');
CREATE TABLE people (id BIGINT, name STRING, rank BOOLEAN) WITH ('connector' = 'filesystem', 'path' = '/data/people', 'format' = 'json');
SELECT * FROM orders JOIN (SELECT id, rank AS price FROM people) AS p USING (id, price);
