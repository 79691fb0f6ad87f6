CREATE TABLE orders (id INT, proc AS PROCTIME()) WITH ('connector' = 'datagen');
CREATE TABLE people (id INT, name STRING) WITH ('connector' = 'datagen');
SELECT o.id, p.name FROM orders AS o JOIN people FOR SYSTEM_TIME AS OF o.proc AS p ON o.id = p.id;
