-- What is written in order lies in order.
-- ordered
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE orders (
    id BIGINT,
    customer STRING,
    item STRING,
    quantity INT,
    price DECIMAL(10, 2),
    discount DECIMAL(6, 3),
    express BOOLEAN,
    placed TIMESTAMP(3),
    due DATE,
    store INT
) WITH (
    'connector' = 'filesystem',
    'path' = '${data}/orders.json',
    'format' = 'json'
);

CREATE TABLE sorted (id BIGINT, customer STRING, price DECIMAL(10, 2))
WITH ('connector' = 'filesystem', 'path' = '${out}/sorted', 'format' = 'json');
CREATE TABLE top (customer STRING, paid DECIMAL(38, 2))
WITH ('connector' = 'filesystem', 'path' = '${out}/top', 'format' = 'json');

EXECUTE STATEMENT SET BEGIN
INSERT INTO sorted SELECT id, customer, price FROM orders WHERE store = 1 ORDER BY price, id;
INSERT INTO top SELECT customer, SUM(price) FROM orders GROUP BY customer ORDER BY SUM(price) DESC, customer LIMIT 4;
END;
