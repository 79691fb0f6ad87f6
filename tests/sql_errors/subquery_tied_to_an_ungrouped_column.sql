SET 'execution.runtime-mode' = 'batch';
CREATE TABLE orders (id INT, customer STRING, price DECIMAL(8, 2)) WITH ('connector' = 'filesystem', 'path' = '/data/orders', 'format' = 'json');
CREATE TABLE people (id BIGINT, name STRING, rank BOOLEAN) WITH ('connector' = 'filesystem', 'path' = '/data/people', 'format' = 'json');
SELECT customer, (SELECT name FROM people WHERE people.id = orders.id) FROM orders GROUP BY customer;
